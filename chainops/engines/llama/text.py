"""From token bytes to text that may leave: whole characters only, and nothing that could begin a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

__all__ = ["TextStream", "held_back"]


def held_back(text: str, markers: Sequence[str]) -> int:
    """How many characters at the end of ``text`` could be the beginning of one of ``markers``."""
    longest = max((len(marker) for marker in markers), default=0)
    for size in range(min(longest - 1, len(text)), 0, -1):
        tail = text[-size:]
        if any(marker.startswith(tail) for marker in markers):
            return size
    return 0


class TextStream:
    """Turns the bytes of tokens into text, cut before the first stop string.

    Characters and stop strings may be spread over tokens: what cannot be decided yet is held back.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self.stopped = False
        self._stop = tuple(marker for marker in stop if marker)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, piece: bytes) -> str:
        """The text that ``piece`` makes certain; sets ``stopped`` when a stop string is complete."""
        return self._release(self._decoder.decode(piece))

    def finish(self) -> str:
        """What was held back, at the end of the answer."""
        if self.stopped:
            return ""
        text = self._release(self._decoder.decode(b"", final=True)) + self._held
        self._held = ""
        return text

    def _release(self, text: str) -> str:
        if self.stopped:
            return ""
        text = self._held + text
        cuts = [place for marker in self._stop if (place := text.find(marker)) >= 0]
        if cuts:
            self.stopped, self._held = True, ""
            return text[: min(cuts)]
        keep = held_back(text, self._stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]
