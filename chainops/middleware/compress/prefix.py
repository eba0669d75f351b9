"""How much of a prompt begins as the last one of the same conversation did: that much a model has cached."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

__all__ = ["Prefixes"]

MOST = 4096


def _mark(message: BaseMessage) -> int:
    content: Any = message.content
    calls = message.__dict__.get("tool_calls")
    return hash((message.type, content if isinstance(content, str) else repr(content), repr(calls) if calls else ""))


class Prefixes:
    """What was sent last, by conversation; hashes only, of the last few thousand conversations."""

    def __init__(self) -> None:
        self._sent: OrderedDict[tuple[str | None, str], tuple[int, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def same(self, key: tuple[str | None, str], messages: Sequence[BaseMessage]) -> int:
        """How many messages at the beginning are equal to those that were sent last."""
        before = self._sent.get(key, ())
        for count, (message, mark) in enumerate(zip(messages, before, strict=False)):
            if _mark(message) != mark:
                return count
        return min(len(before), len(messages))

    def sent(self, key: tuple[str | None, str], messages: Sequence[BaseMessage]) -> None:
        """These are sent now."""
        marks = tuple(map(_mark, messages))
        with self._lock:
            self._sent[key] = marks
            self._sent.move_to_end(key)
            if len(self._sent) > MOST:
                self._sent.popitem(last=False)
