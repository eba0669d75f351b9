"""Text that comes in pieces and leaves guarded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

__all__ = ["Edit", "Gate", "Watch", "guard"]

CONTEXT = 256
"""Characters before a place that a watch may look back at."""
TRIM = 2048
LONG = 256


class Edit(NamedTuple):
    """``text[start:end]`` is replaced by ``replacement``."""

    start: int
    end: int
    replacement: str


class Watch(Protocol):
    """Knows what must not leave as it is. Has no state: one watch serves all gates."""

    def settle(self, text: str, start: int, final: bool) -> tuple[int, Sequence[Edit]]:
        """``(cut, edits)``: what no text that may still follow can change in ``text[start:cut]``.

        No edit crosses ``cut``; those before it are in order and do not overlap. ``text[:start]`` is settled already
        and stands there as context: the last 256 characters, or all there is. ``final``: nothing follows, and ``cut``
        is the end of the text. What it raises stops the stream.
        """


class Gate:
    """One text on its way out: feed pieces, send what comes back, close at the end.

    What has come back, joined, is always the beginning of ``guard(watch, whole text)``, however the text was cut into
    pieces, and all of it after :meth:`close`. When the watch raises, the gate stays shut: each later call raises again.

    >>> gate = Gate(Patterns([Rule("key", r"sk-[a-z]{4}", "<KEY>")]))
    >>> [gate.feed(piece) for piece in ("The key", " is s", "k-ab", "cd now")], gate.close()
    (['The key', ' is ', '', '<KEY> now'], '')
    """

    __slots__ = ("_again", "_buffer", "_done", "_error", "_watch", "edits")

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._buffer = ""
        self._done = 0
        self._again = 0
        self._error: Exception | None = None
        self.edits = 0
        """How many edits were made so far."""

    @property
    def held(self) -> int:
        """How many characters wait."""
        return len(self._buffer) - self._done

    def feed(self, text: str) -> str:
        """What may leave now that ``text`` has come; often just that text, sometimes nothing yet."""
        buffer = self._buffer = self._buffer + text
        held = len(buffer) - self._done
        # a long candidate is looked at again when it has grown by an eighth: the time stays linear
        if held < self._again:
            return ""
        out = self._settle(False)
        held = len(self._buffer) - self._done
        self._again = 0 if held < LONG else held + held // 8
        return out

    def close(self) -> str:
        """The rest: nothing follows."""
        out = self._settle(True)
        self._buffer, self._done = "", 0
        return out

    def _settle(self, final: bool) -> str:
        if self._error is not None:
            raise self._error
        buffer, start = self._buffer, self._done
        if start == len(buffer):
            return ""
        try:
            cut, edits = self._watch.settle(buffer, start, final)
        except Exception as error:
            self._error = error
            raise
        self._done = cut
        if cut > TRIM:
            self._buffer, self._done = buffer[cut - CONTEXT :], CONTEXT
        if not edits:
            return buffer[start:cut]
        self.edits += len(edits)
        return apply(buffer, start, cut, edits)


def apply(text: str, start: int, end: int, edits: Sequence[Edit]) -> str:
    """``text[start:end]`` with the edits made."""
    parts: list[str] = []
    for edit in edits:
        parts += text[start : edit.start], edit.replacement
        start = edit.end
    return "".join((*parts, text[start:end]))


def guard(watch: Watch, text: str) -> str:
    """The whole text, guarded in one piece."""
    if not text:
        return text
    cut, edits = watch.settle(text, 0, True)
    return apply(text, 0, cut, edits) if edits else text
