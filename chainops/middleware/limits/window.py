"""A strict window: asyncio-throttle, made safe for several threads, with a bound on who waits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator
from math import inf
from typing import Any

from asyncio_throttle import Throttler

from chainops.middleware.limits.bucket import Bucket
from chainops.middleware.limits.refuse import too_late, too_long, too_many
from chainops.middleware.limits.rules import LimitRule

__all__ = ["Window"]


class Window:
    """Never more than ``requests`` in any ``period_s``. Waiters ask every 10 ms, and may overtake each other.

    What was let in stays in the window, used or not: there is nothing to give back.
    """

    def __init__(self, rule: LimitRule, age_s: float) -> None:
        self.rule = rule
        self._throttler = Throttler(int(rule.requests or 0), rule.period_s)
        self._places = Bucket(_without_rate(rule), age_s) if rule.concurrent is not None else None
        self._lock = threading.Lock()
        self._waiting = 0

    async def enter(self, tokens: float, priority: float = 0.0, patience: float = inf) -> float:
        """As ``Bucket.enter``."""
        now = time.monotonic()
        if self._places is not None:
            await self._places.enter(0.0, priority, patience)
        try:
            return await self._enter(now, patience)
        except BaseException:
            self.release(0.0)
            raise

    async def _enter(self, now: float, patience: float) -> float:
        full = len(self._throttler._task_logs) >= self._throttler.rate_limit
        wait = max(0.0, self._throttler._task_logs[0] + self.rule.period_s - time.monotonic()) if full else 0.0
        if wait and self._waiting >= self.rule.max_queue:
            raise too_many(self.rule, self._waiting, wait)
        # what was waited for a place counts too
        longest = min(self.rule.max_wait_s, patience) - (time.monotonic() - now)
        with self._lock:
            self._waiting += 1
        try:
            async with asyncio.timeout(None if longest == inf else longest):
                await _Stepwise(self._throttler.acquire(), self._lock)
        except TimeoutError:
            if patience < self.rule.max_wait_s:
                raise too_late(self.rule, patience, wait) from None
            raise too_long(self.rule, wait) from None
        finally:
            with self._lock:
                self._waiting -= 1
        return time.monotonic() - now

    def count(self, tokens: float) -> None:
        """Count a call that does not wait."""
        with self._lock:
            self._throttler._task_logs.append(time.monotonic())

    def settle(self, *, requests: float, tokens: float) -> None:
        """Nothing: see above."""

    def release(self, held_s: float) -> None:
        """Free the place."""
        if self._places is not None:
            self._places.release(held_s)

    def idle(self, now: float) -> bool:
        """True when it has nothing to remember."""
        logs = self._throttler._task_logs
        recent = bool(logs) and time.monotonic() - logs[-1] <= self.rule.period_s
        return not self._waiting and not recent and (self._places is None or self._places.idle(now))


class _Stepwise:
    """A coroutine each of whose steps runs under a lock: threads take turns, none waits while another sleeps."""

    def __init__(self, coroutine: Any, lock: threading.Lock) -> None:
        self._coroutine, self._lock = coroutine, lock

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            while True:
                with self._lock:
                    try:
                        waited_for = self._coroutine.send(None)
                    except StopIteration:
                        return
                yield waited_for
        finally:
            self._coroutine.close()


def _without_rate(rule: LimitRule) -> LimitRule:
    import dataclasses

    return dataclasses.replace(rule, requests=None, mode="fifo")
