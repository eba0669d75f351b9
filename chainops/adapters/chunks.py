"""What all ways to run a stream share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from typing import Any, Protocol

__all__ = ["Collector", "closing"]


class Collector(Protocol):
    """Builds the result of a stream from its chunks."""

    def add(self, chunk: Any) -> None:
        """Take one chunk, before anybody else sees it."""

    def result(self) -> Any:
        """What the layers get as the result of the call."""


def closing(iterator: AsyncIterator[Any]) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
    """Close ``iterator`` at the end, where it is a generator that can be closed."""
    return aclosing(iterator) if hasattr(iterator, "aclose") else nullcontext(iterator)  # type: ignore[type-var]
