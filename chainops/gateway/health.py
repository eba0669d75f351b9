"""How a deployment does: how long it takes, how often it fails, and whether it is asked at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from chainops.calls import Handler
from chainops.errors import CallError, is_control_flow
from chainops.gateway.failures import is_retryable, retry_after_s, status_of

__all__ = ["DeploymentDown", "Health", "Watched"]

State = Literal["closed", "open", "half-open"]
LATENCY = 0.2
ERRORS = 0.05


class DeploymentDown(CallError):
    """The deployment failed too often lately and is not asked for ``retry_after_s`` seconds."""

    default_code = "route.down"
    retryable: ClassVar[bool] = True

    def __init__(self, name: str, retry_after_s: float) -> None:
        super().__init__(
            f"Deployment {name!r} failed too often and is not asked for {retry_after_s:.1f} s",
            hint="Look at its errors in the trace, or give the alias a fallback.",
        )
        self.deployment, self.retry_after_s = name, retry_after_s

    def __reduce__(self) -> tuple[object, ...]:
        return DeploymentDown, (self.deployment, self.retry_after_s)


class Health:
    """What is known of one deployment in this process, and its circuit breaker.

    The breaker opens after ``trip_after`` failures in a row, or when more than ``trip_share`` of the calls fail
    (smoothed, of at least 20). Open, nothing is asked for ``open_s`` seconds; then one call is let through
    (half-open): if it succeeds the breaker closes, if it fails it opens for twice as long, up to ``max_open_s``.
    A ``Retry-After`` keeps calls away as long as it says. Only failures that may pass count: a request that the
    server calls wrong says nothing about the server.
    """

    def __init__(
        self,
        name: str,
        *,
        trip_after: int = 8,
        trip_share: float = 0.6,
        open_s: float = 5.0,
        max_open_s: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.trip_after, self.trip_share = name, trip_after, trip_share
        self.open_s, self.max_open_s, self._clock = open_s, max_open_s, clock
        self.latency_s, self.errors, self.in_flight, self.calls, self.in_a_row = 0.0, 0.0, 0, 0, 0
        self._until, self._open_for = 0.0, 0.0
        self._probe: float | None = None  # when the one call began that tries
        self._lock = threading.Lock()

    @property
    def state(self) -> State:
        """closed: asked as usual · open: not asked · half-open: one call tries."""
        if not self._open_for:
            return "closed"
        return "open" if self._is_tried(self._clock()) or self._clock() < self._until else "half-open"

    @property
    def troubled(self) -> bool:
        """True when it was told, and has not yet been seen, that it may not be asked."""
        return self._until != 0.0

    def wait_s(self) -> float:
        """Seconds until it may be asked; 0: now."""
        return max(0.0, self._until - self._clock()) if self._until else 0.0

    def available(self) -> bool:
        """True when a call would be let through now."""
        return self.wait_s() <= 0 and not self._is_tried(self._clock())

    def predicted_s(self) -> float:
        """How long a call would take that starts now: the smoothed latency for each call before it, and its own."""
        return self.latency_s * (1 + self.in_flight)

    def begin(self) -> float:
        """Count a call in; the time it starts. Raises ``DeploymentDown``."""
        now = self._clock()
        with self._lock:
            if self._until:
                if self._is_tried(now) or now < self._until:
                    raise DeploymentDown(self.name, max(self._until - now, 0.05))
                if self._open_for:
                    self._probe = now
                else:
                    self._until = 0.0
            self.in_flight += 1
        return now

    def succeeded(self, began: float) -> None:
        """It answered."""
        took = self._clock() - began
        with self._lock:
            self._ended(began)
            self.latency_s = took if self.latency_s == 0 else self.latency_s + LATENCY * (took - self.latency_s)
            self.errors -= ERRORS * self.errors
            self.in_a_row, self._until, self._open_for, self._probe = 0, 0.0, 0.0, None

    def failed(self, error: BaseException, began: float | None = None) -> None:
        """It failed. ``error`` decides whether that is held against it."""
        with self._lock:
            probing = self._ended(began)
        self.blame(error, probing=probing)

    def blame(self, error: BaseException, *, probing: bool = False) -> None:
        """Hold ``error`` against it, where it is a failure of the deployment and not of the call."""
        if is_control_flow(error) or not isinstance(error, Exception) or not is_retryable(error):
            return
        with self._lock:
            self.in_a_row += 1
            self.errors += ERRORS * (1 - self.errors)
            trip = self.in_a_row >= self.trip_after or (self.calls >= 20 and self.errors > self.trip_share)
            if probing or trip:
                self._open_for = min(self._open_for * 2 or self.open_s, self.max_open_s)
                self._until = self._clock() + self._open_for
                self.in_a_row = 0
            after = retry_after_s(error) if status_of(error) in (429, 503) else None
            if after:
                self._until = max(self._until, self._clock() + min(after, self.max_open_s))

    def report(self) -> dict[str, Any]:
        """Everything, as JSON."""
        return {
            "state": self.state,
            "latency_ms": round(self.latency_s * 1000, 1),
            "errors": round(self.errors, 3),
            "in_flight": self.in_flight,
            "calls": self.calls,
        }

    def _is_tried(self, now: float) -> bool:
        """True while one call tries; one that hangs is waited for as long as the breaker stays open at most."""
        return self._probe is not None and now < self._probe + self.max_open_s

    def _ended(self, began: float | None) -> bool:
        # calls from before the breaker opened end too: they are not the one that tries
        probing = self._probe is not None and began in (None, self._probe)
        if probing:
            self._probe = None
        self.in_flight -= 1
        self.calls += 1
        return probing


class Watched:
    """An engine whose calls its deployment's health learns from; refuses while the breaker is open."""

    __slots__ = ("engine", "health")

    def __init__(self, engine: Handler, health: Health) -> None:
        self.engine, self.health = engine, health

    async def __call__(self, call: Any) -> Any:
        health = self.health
        began = health.begin()
        try:
            result = await self.engine(call)
        except BaseException as error:
            health.failed(error, began)
            raise
        health.succeeded(began)
        return result
