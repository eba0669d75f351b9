"""Resources of a middleware that belong to one event loop."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["PerLoop"]

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One object per running event loop, made on first use: for locks, throttles and clients of a middleware.

    The layers of a synchronous run live on another loop than those of an asynchronous one, and most asyncio
    objects die with "bound to a different event loop" when shared.
    """

    def __init__(self, factory: Callable[[], T]) -> None:
        self._factory = factory
        self._made: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, T] = weakref.WeakKeyDictionary()

    def get(self) -> T:
        """The object of the running loop. Raises ``RuntimeError`` outside one."""
        loop = asyncio.get_running_loop()
        try:
            return self._made[loop]
        except KeyError:
            return self._made.setdefault(loop, self._factory())

    def made(self) -> list[tuple[asyncio.AbstractEventLoop, T]]:
        """All loops that still exist, and what was made for them; for closing."""
        return list(self._made.items())
