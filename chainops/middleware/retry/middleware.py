"""The retry middleware."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from chainops.calls import Call, Emit, Handler, Kind, ModelCall, ModelNext, ModelResult, ToolCall, ToolNext
from chainops.errors import CallError, SetupError, is_control_flow
from chainops.gateway.failures import is_retryable, retry_after_s
from chainops.gateway.health import Health, Watched
from chainops.middleware.retry.idempotency import is_idempotent, with_key
from chainops.pipeline import Middleware

__all__ = ["AttemptTimeout", "Retry"]

MAX_HEALTHS = 1000


class AttemptTimeout(CallError):
    """One attempt took longer than ``timeout_s``, or than the call had left. It was cancelled."""

    default_code = "call.attempt_timeout"
    retryable: ClassVar[bool] = True

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(
            f"{name!r} did not answer within {seconds:.3g} s",
            hint="Raise [retry].timeout_s or the deadline, or look why it is slow.",
        )
        self.name, self.seconds = name, seconds

    def __reduce__(self) -> tuple[object, ...]:
        return AttemptTimeout, (self.name, self.seconds)


class Retry(Middleware):
    """Makes a model, tool or retriever call again when it failed for a reason that may pass.

    Passing reasons are timeouts, cut connections, broken answers, HTTP 408, 409, 425, 429 and 5xx, and a ``CallError``
    that says ``retryable``. A ``Retry-After`` is honoured; else the pause is drawn between 0 and a bound that doubles
    from ``first_s`` up to ``max_s`` ("full jitter"). No pause goes past the deadline of the call. A stream is begun
    again only while nothing of it has left. Tools are called again only where that does no harm: see ``idempotent``.
    Control flow (``interrupt()`` ...), refusals and mistakes pass at once.

    Each model has a circuit breaker: one that fails again and again is not asked for a while, see ``Health``.

    Args:
        attempts: of one call, the first included; 1: none is repeated.
        first_s, max_s: seconds of the first pause and of the longest.
        timeout_s: seconds that one attempt may take; None: as long as the call has left.
        idempotent: globs on names of tools that may be called again. A tool that has an argument
            ``idempotency_key`` is given one that is the same for every attempt.
        retry_on: more exceptions that may pass.
        breaker: False: no circuit breaker for models outside a gateway.
        seed: of the jitter, for tests.

    Raises:
        SetupError: code ``setup.retry``.
    """

    name: ClassVar[str] = "retry"
    inside: ClassVar[tuple[str, ...]] = (
        "trace",
        "limits",
        "cache",
        "semantic_cache",
        "route",
        "rails",
        "pii",
        "prompts",
    )
    kinds: ClassVar[frozenset[Kind]] = frozenset({"model", "tool", "retriever"})

    def __init__(
        self,
        attempts: int = 3,
        *,
        first_s: float = 0.5,
        max_s: float = 20.0,
        timeout_s: float | None = None,
        idempotent: Sequence[str] = (),
        retry_on: tuple[type[Exception], ...] = (),
        breaker: bool = True,
        seed: int | None = None,
    ) -> None:
        if attempts < 1 or first_s < 0 or max_s < first_s or (timeout_s is not None and timeout_s <= 0):
            raise SetupError(
                f"Retry got attempts={attempts}, first_s={first_s}, max_s={max_s}, timeout_s={timeout_s}",
                hint="At least one attempt, pauses from 0 up, a timeout above 0.",
                code="setup.retry",
            )
        self.attempts, self.first_s, self.max_s, self.timeout_s = attempts, first_s, max_s, timeout_s
        self.idempotent, self.retry_on, self.breaker = tuple(idempotent), retry_on, breaker
        self.healths: dict[str, Health] = {}
        self._lock = threading.Lock()
        self._chance = random.Random(seed)  # noqa: S311 - spreads load, keeps no secret

    def describe(self) -> dict[str, Any]:
        """Its settings."""
        names = ("attempts", "first_s", "max_s", "timeout_s", "idempotent", "breaker")
        return {**{n: getattr(self, n) for n in names}, "retry_on": [e.__qualname__ for e in self.retry_on]}

    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        """Model calls; a stream only while nothing has left."""
        if not isinstance(call.engine, Watched) and self.breaker:
            call = call.replace(engine=Watched(call.engine, self._health(call.name)))
        if not call.streaming:
            return await self._tries(call, call_next, _never)  # type: ignore[no-any-return]
        sent = _Sent(call.emit)
        return await self._tries(call.replace(emit=sent), call_next, sent.any)  # type: ignore[no-any-return]

    async def wrap_tool_call(self, call: ToolCall, call_next: ToolNext) -> Any:
        """Retrievers, and tools that may be called again."""
        if not is_idempotent(call, self.idempotent):
            return await call_next(call)
        return await self._tries(with_key(call), call_next, _never)

    async def _tries(self, call: Call, call_next: Handler, sent: Callable[[], bool]) -> Any:
        attempt, failures = 1, list[str]()
        while True:
            try:
                result = await self._once(call, call_next)
            except Exception as error:
                pause = None if sent() else self._pause(call, error, attempt)
                if pause is None:
                    if failures:
                        call.annotate(self.name, attempts=attempt, failures=failures)
                    raise
                failures.append(_brief(error))
                await asyncio.sleep(pause)
                attempt += 1
            else:
                if failures:
                    call.annotate(self.name, attempts=attempt, failures=failures)
                return result

    async def _once(self, call: Call, call_next: Handler) -> Any:
        limit, remaining = self.timeout_s, call.remaining_s()
        if remaining is not None:
            limit = remaining if limit is None else min(limit, remaining)
        if limit is None:
            return await call_next(call)
        timeout = asyncio.timeout(limit)
        try:
            async with timeout:
                return await call_next(call)
        except TimeoutError as error:
            if not timeout.expired():
                raise
            late = AttemptTimeout(call.name, max(limit, 0.0))
            if isinstance(call.engine, Watched):
                call.engine.health.blame(late)
            raise late from error

    def _pause(self, call: Call, error: Exception, attempt: int) -> float | None:
        """Seconds until the next attempt; None: there is none."""
        if attempt >= self.attempts or is_control_flow(error) or call.guard.bubble is not None:
            return None
        if not (is_retryable(error) or isinstance(error, self.retry_on)):
            return None
        pause = retry_after_s(error)
        if pause is None:
            pause = self._chance.random() * min(self.max_s, self.first_s * 2.0 ** (attempt - 1))
        elif pause > self.max_s or _others_left(call):
            return None  # too long to hold the caller, or another deployment can answer now
        remaining = call.remaining_s()
        return None if remaining is not None and pause >= remaining else pause

    def _health(self, name: str) -> Health:
        health = self.healths.get(name)
        if health is None:
            with self._lock:
                if len(self.healths) >= MAX_HEALTHS:
                    self.healths.clear()
                health = self.healths.setdefault(name, Health(name))
        return health


class _Sent:
    """Whether a chunk has left."""

    __slots__ = ("emit", "left")

    def __init__(self, emit: Emit) -> None:
        self.emit, self.left = emit, False

    async def __call__(self, chunk: Any) -> None:
        self.left = True
        await self.emit(chunk)

    def any(self) -> bool:
        return self.left


def _others_left(call: Call) -> bool:
    """True when a router outside has another deployment to ask."""
    return call.guard.marks is not None and bool(call.guard.marks.notes.get("route", {}).get("left"))


def _never() -> bool:
    return False


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".partition("\n")[0][:200]
