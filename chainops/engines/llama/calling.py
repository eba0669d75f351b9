"""Free answers in which a tool call may begin: from its mark on, a grammar lets the model write nothing else."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["CLOSE", "OPEN", "CallWatch"]

OPEN, CLOSE = "<tool_call>", "</tool_call>"
BEGIN, END = OPEN.encode(), CLOSE.encode()


class CallWatch:
    """Follows the bytes of an answer; the marks of calls may be spread over tokens.

    Args:
        grammar: makes GBNF for a text and the rest of a call behind it; empty: anything may follow.
        once: one call at most.
    """

    def __init__(self, grammar: Callable[[str], str], *, once: bool = False) -> None:
        self.grammar, self.once = grammar, once
        self.inside = False
        self._tail = b""

    def opened(self, piece: bytes) -> tuple[bytes, bytes] | None:
        """Take in a token outside of calls. Where it completes an opening mark: what of it comes before the mark's end,
        and what after; then the next one is inside."""
        text = self._tail + piece
        place = text.find(BEGIN)
        if place < 0:
            self._tail = text[-len(BEGIN) + 1 :]
            return None
        self.inside, self._tail = True, b""
        cut = len(piece) - (len(text) - place - len(BEGIN))
        return piece[:cut], piece[cut:]

    def closed(self, piece: bytes) -> bool:
        """Take in a token of a call; True: a closing mark is there, which may be part of a string."""
        text = self._tail + piece
        self._tail = text[-len(END) - len(piece) :]
        return END in text

    def leave(self) -> None:
        """The call is over."""
        self.inside, self._tail = False, b""
