"""One count that other processes use too, and the queue of this process before it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import replace
from math import inf
from typing import Any

from chainops.errors import LimitExceeded
from chainops.middleware.limits.bucket import CATCH_UP, Bucket
from chainops.middleware.limits.refuse import too_late, too_long
from chainops.middleware.limits.rules import LimitRule
from chainops.middleware.limits.shared import Admission, LimitStore

__all__ = ["SharedBucket"]

POLL_S = (0.005, 0.1)


class SharedBucket:
    """As ``Bucket``, with the numbers in a ``LimitStore``.

    Calls of one process queue in order; the first of them reserves in the store and waits for its time. Between
    processes the order is that of the reservations. A place that another process frees is found by asking again.
    """

    def __init__(self, rule: LimitRule, age_s: float, store: LimitStore, key: str, thread: Executor) -> None:
        self.rule, self.store, self.key = rule, store, key
        self._thread = thread  # one, so that what is given back is given back after it was taken
        # the queue: a bucket of one place, which the head of the queue holds while it asks the store
        self._queue = Bucket(replace(rule, requests=None, tokens=None, concurrent=1, mode="fifo"), age_s)
        self._rates: dict[str, tuple[float, float]] = {}
        for name, amount, burst in (
            ("requests", rule.requests, rule.burst),
            ("tokens", rule.tokens, rule.burst_tokens),
        ):
            if amount is not None:
                interval = rule.period_s / amount
                self._rates[name] = (interval, ((max(1.0, amount / 10) if burst is None else burst) - 1.0) * interval)

    async def enter(self, tokens: float, priority: float = 0.0, patience: float = inf) -> tuple[float, str]:
        """As ``Bucket.enter``: seconds waited, and the owner of the place."""
        began = time.monotonic()
        await self._queue.enter(0.0, priority, patience)
        turn = time.monotonic()
        try:
            owner = await self._reserve(tokens, began, min(patience, self.rule.max_wait_s), patience)
        finally:
            self._queue.release(time.monotonic() - turn)
        return time.monotonic() - began, owner

    def count(self, tokens: float) -> None:
        """As ``Bucket.count``."""
        self._soon(self.store.admit, Admission(self.key, "", None, self._amounts(tokens)))

    def settle(self, *, requests: float, tokens: float) -> None:
        """Give back what was not used, soon."""
        used = {"requests": requests, "tokens": tokens}
        seconds = [(name, used[name] * interval) for name, (interval, _) in self._rates.items() if used[name]]
        if seconds:
            self._soon(self.store.settle, self.key, seconds)

    def release(self, owner: str) -> None:
        """Free the place, soon."""
        if self.rule.concurrent is not None:
            self._soon(self.store.release, self.key, owner)

    def idle(self, now: float) -> bool:
        """True when nobody of this process waits."""
        return self._queue.idle(now)

    def _soon(self, function: Callable[..., Any], *args: Any) -> None:
        with suppress(RuntimeError):  # closed while the call ran: the store has freed what it held
            self._thread.submit(function, *args)

    async def _reserve(self, tokens: float, began: float, longest: float, patience: float) -> str:
        owner, poll = uuid.uuid4().hex, POLL_S[0]
        while True:
            waited = time.monotonic() - began
            base = min(waited, CATCH_UP * self.rule.period_s)
            asked = Admission(self.key, owner, self.rule.concurrent, self._amounts(tokens), base)
            wait = await self._admit(asked)
            if wait is not None:
                break
            if time.monotonic() - began + poll > longest:
                raise self._refusal(longest, patience, 0.0)
            await asyncio.sleep(poll)
            poll = min(poll * 1.5, POLL_S[1])
        try:
            if time.monotonic() - began + wait > longest:
                raise self._refusal(longest, patience, wait)
            if wait > 0:
                await asyncio.sleep(wait)
        except BaseException:
            self._undo(asked)
            raise
        return owner

    async def _admit(self, asked: Admission) -> float | None:
        future = self._thread.submit(self.store.admit, asked)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except asyncio.CancelledError:
            if not future.cancel():  # it runs or has run: what it reserves is given back afterwards
                future.add_done_callback(lambda done: self._undo(asked) if _reserved(done) else None)
            raise

    def _undo(self, asked: Admission) -> None:
        self.settle(requests=1.0, tokens=asked.rates.get("tokens", (0.0,))[0])
        self.release(asked.owner)

    def _amounts(self, tokens: float) -> dict[str, tuple[float, float, float]]:
        amounts = {"requests": 1.0, "tokens": tokens}
        return {name: (amounts[name], *rest) for name, rest in self._rates.items()}

    def _refusal(self, longest: float, patience: float, wait: float) -> LimitExceeded:
        return too_late(self.rule, longest, wait) if patience < self.rule.max_wait_s else too_long(self.rule, wait)


def _reserved(done: Future[float | None]) -> bool:
    return done.exception() is None and done.result() is not None
