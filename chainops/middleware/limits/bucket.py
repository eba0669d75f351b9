"""One count and its queue, in this process: for all event loops and threads of it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
import time
from math import inf
from typing import Any

from chainops.middleware.limits.meter import Meter
from chainops.middleware.limits.refuse import too_late, too_long, too_many
from chainops.middleware.limits.rules import LimitRule

__all__ = ["Bucket"]

CATCH_UP = 0.01
"""A timer that fires late costs the queue no place: up to this share of the period is made up for."""


class _Waiter:
    __slots__ = ("done", "future", "let_in", "loop", "since", "tokens")

    def __init__(self, tokens: float, since: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()
        self.tokens, self.since = tokens, since
        self.done = self.let_in = False


class Bucket:
    """Requests, tokens and places of one key. Who waits longest goes first, among those of one priority.

    There is one timer, for the head of the queue, and nobody polls. A priority is worth ``age_s`` seconds of waiting,
    so that nobody waits for ever: the queue is ordered by time of arrival less ``priority * age_s``, which does not
    change while one waits.
    """

    def __init__(self, rule: LimitRule, age_s: float) -> None:
        self.rule, self.age_s = rule, age_s
        self.requests = _meter(rule.requests, rule.period_s, rule.burst)
        self.tokens = _meter(rule.tokens, rule.period_s, rule.burst_tokens)
        self.meters = [(m, m is self.tokens) for m in (self.requests, self.tokens) if m is not None]
        self.free: float = inf if rule.concurrent is None else rule.concurrent
        self.hold_s = 0.0  # how long a place is held, smoothed
        self.waiting = 0
        self.queued_tokens = 0.0
        self._lock = threading.Lock()
        self._queue: list[tuple[float, int, _Waiter]] = []
        self._turn = itertools.count()
        self._timer: tuple[asyncio.AbstractEventLoop, float] | None = None
        self._catch_up = CATCH_UP * rule.period_s

    async def enter(self, tokens: float, priority: float = 0.0, patience: float = inf) -> float:
        """Wait until the call may start; seconds waited. ``patience``: seconds after which it is no use any more.

        Raises:
            LimitExceeded: the queue is full, or the wait would be longer than the rule or ``patience`` allows.
        """
        if self.enter_now(tokens):
            return 0.0
        now = time.monotonic()
        with self._lock:
            waiter = self._join(tokens, priority, patience, now)
        longest = min(self.rule.max_wait_s, patience)
        timer = waiter.loop.call_later(longest, self._expire, waiter, longest)
        try:
            self._pump()
            await waiter.future
        except BaseException:
            self._leave(waiter)
            raise
        finally:
            timer.cancel()
        return time.monotonic() - now

    def enter_now(self, tokens: float) -> bool:
        """Let the call in if it need not wait; False: it must."""
        now = time.monotonic()
        with self._lock:
            if self._queue:
                if self.waiting:
                    return False
                self._queue.clear()
            if self.free <= 0:
                return False
            for meter, _ in self.meters:
                if meter.at - meter.tolerance > now:
                    return False
            self._take(tokens, now)
            return True

    def count(self, tokens: float) -> None:
        """Count a call that runs inside one that has its place: it takes none, and does not wait."""
        with self._lock:
            now = time.monotonic()
            for meter, is_tokens in self.meters:
                meter.take(tokens if is_tokens else 1.0, now)

    def settle(self, *, requests: float, tokens: float) -> None:
        """Give requests and tokens back that were not used (less than 0: more were used)."""
        with self._lock:
            if self.requests is not None and requests:
                self.requests.give(requests)
            if self.tokens is not None and tokens:
                self.tokens.give(tokens)
        if (requests > 0 or tokens > 0) and self._queue:
            self._pump()

    def release(self, held_s: float) -> None:
        """Free the place of a call that ran ``held_s`` seconds."""
        with self._lock:
            self.free += 1
            self.hold_s += 0.2 * (held_s - self.hold_s)
        if self._queue:
            self._pump()

    def idle(self, now: float) -> bool:
        """True when it has nothing to remember."""
        return not self.waiting and self.free >= (self.rule.concurrent or 0) and self._blocked_s(now) <= 0

    def wait_s(self, now: float) -> float:
        """How long a call that joins the end of the queue now would wait, as far as can be told."""
        wait = 0.0
        if self.requests is not None:
            wait = self.requests.wait_s(now) + self.waiting * self.requests.interval
        if self.tokens is not None:
            wait = max(wait, self.tokens.wait_s(now) + self.queued_tokens * self.tokens.interval)
        if self.rule.concurrent is not None and self.free <= 0:
            wait = max(wait, self.hold_s * (self.waiting + 1) / self.rule.concurrent)
        return max(wait, 0.0)

    def _join(self, tokens: float, priority: float, patience: float, now: float) -> _Waiter:
        wait = self.wait_s(now)
        if self.waiting >= self.rule.max_queue:
            raise too_many(self.rule, self.waiting, wait)
        place = now - priority * self.age_s
        last = not self._queue or place >= max(self._queue)[0] if wait > min(self.rule.max_wait_s, patience) else False
        if last:  # nobody would go first, so the estimate holds
            if patience < self.rule.max_wait_s:
                raise too_late(self.rule, patience, wait)
            raise too_long(self.rule, wait)
        waiter = _Waiter(tokens, now)
        self.waiting += 1
        self.queued_tokens += tokens
        heapq.heappush(self._queue, (place, next(self._turn), waiter))
        return waiter

    def _leave(self, waiter: _Waiter) -> None:
        with self._lock:
            if not waiter.done:
                self._forget(waiter)
            elif waiter.let_in:
                waiter.let_in = False
                self._give_all(waiter.tokens)
        self._pump()

    def _forget(self, waiter: _Waiter) -> None:
        waiter.done = True
        self.waiting -= 1
        self.queued_tokens -= waiter.tokens

    def _expire(self, waiter: _Waiter, waited: float) -> None:
        with self._lock:
            if waiter.done:
                return
            self._forget(waiter)
            wait = self.wait_s(time.monotonic())
        if not waiter.future.done():
            late = waited < self.rule.max_wait_s
            waiter.future.set_exception(too_late(self.rule, waited, wait) if late else too_long(self.rule, wait))
        self._pump()

    def _blocked_s(self, now: float) -> float:
        if self.free <= 0:
            return inf
        wait = 0.0
        for meter, _ in self.meters:
            if (this := meter.wait_s(now)) > wait:
                wait = this
        return wait

    def _take(self, tokens: float, base: float) -> None:
        self.free -= 1
        for meter, is_tokens in self.meters:
            meter.take(tokens if is_tokens else 1.0, base)

    def _give_all(self, tokens: float) -> None:
        self.free += 1
        for meter, is_tokens in self.meters:
            meter.give(tokens if is_tokens else 1.0)

    def _pump(self) -> None:
        """Let in who may start now; set the timer for the one who may start next."""
        with self._lock:
            now = time.monotonic()
            while self._queue:
                waiter = self._queue[0][2]
                if waiter.done or waiter.loop.is_closed():
                    heapq.heappop(self._queue)
                    if not waiter.done:
                        self._forget(waiter)
                    continue
                wait = self._blocked_s(now)
                if wait > 0:
                    if wait < inf:
                        self._arm(waiter.loop, now, wait)
                    return
                heapq.heappop(self._queue)
                self._forget(waiter)
                waiter.let_in = True
                self._take(waiter.tokens, max(waiter.since, now - self._catch_up))
                try:
                    _on(waiter.loop, _let_in, waiter.future)
                except RuntimeError:  # its loop was closed this moment
                    self._give_all(waiter.tokens)

    def _arm(self, loop: asyncio.AbstractEventLoop, now: float, wait: float) -> None:
        due = now + wait
        if self._timer is not None and self._timer[0] is loop and self._timer[1] <= due:
            return
        self._timer = timer = (loop, due)
        _on(loop, lambda: loop.call_later(wait, self._ring, timer))

    def _ring(self, timer: tuple[asyncio.AbstractEventLoop, float]) -> None:
        if self._timer is timer:
            self._timer = None
        self._pump()


def _meter(amount: float | None, period_s: float, burst: float | None) -> Meter | None:
    return None if amount is None else Meter(amount, period_s, max(1.0, amount / 10) if burst is None else burst)


def _on(loop: asyncio.AbstractEventLoop, function: Any, *args: Any) -> None:
    if asyncio._get_running_loop() is loop:
        function(*args)
    else:
        loop.call_soon_threadsafe(function, *args)


def _let_in(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
