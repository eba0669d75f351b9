"""Single flight: of equal calls at the same time one runs, and the others get what it got."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any

__all__ = ["ALONE", "LEAD", "Flights", "Landed"]


@dataclass(frozen=True, slots=True)
class Landed:
    """How a flight ended. Exactly one of the two is given."""

    value: Any = None
    error: Exception | None = None


LEAD = Landed(value="lead")
"""The one that flew was cancelled: this one flies now."""
ALONE = Landed(value="alone")
"""What came out is not for others: each makes its own."""

Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Landed]"]


class Flights:
    """Calls under way, by key. For all threads and event loops: nothing here awaits while it holds the lock."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Waiter]] = {}
        self._lock = threading.Lock()

    def join(self, key: str) -> asyncio.Future[Landed] | None:
        """None: this caller flies, and must end with ``land`` or ``hand_over``. Else what to :meth:`wait` for."""
        with self._lock:
            waiting = self._waiting.get(key)
            if waiting is None:
                self._waiting[key] = []
                return None
            loop = asyncio.get_running_loop()
            future: asyncio.Future[Landed] = loop.create_future()
            waiting.append((loop, future))
            return future

    async def wait(self, key: str, future: asyncio.Future[Landed]) -> Landed:
        """How the flight ended. Being cancelled here disturbs nobody else."""
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.result() is LEAD:
                self.hand_over(key)
            raise

    def land(self, key: str, landed: Landed) -> None:
        """Tell everybody who waits."""
        with self._lock:
            waiting = self._waiting.pop(key, [])
        for waiter in waiting:
            self._tell(key, waiter, landed)

    def hand_over(self, key: str) -> bool:
        """Let the first who waits fly instead. False: nobody does, and the flight is over."""
        while True:
            with self._lock:
                waiting = self._waiting.get(key)
                if not waiting:
                    self._waiting.pop(key, None)
                    return False
                waiter = waiting.pop(0)
            if self._tell(key, waiter, LEAD):
                return True

    def _tell(self, key: str, waiter: Waiter, landed: Landed) -> bool:
        loop, future = waiter

        def tell() -> None:
            if not future.done():
                future.set_result(landed)
            elif landed is LEAD:
                self.hand_over(key)

        if future.cancelled():
            return False
        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:  # its loop was closed
            return False
        return True
