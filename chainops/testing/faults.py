"""Faults on purpose: calls that are slow, fail or are cancelled, and a disk that is full."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import Any, Literal

from chainops.calls import Call
from chainops.layer import NODE_KINDS, Middleware

__all__ = ["Faults", "disk_full"]


class Faults(Middleware):
    """Makes chosen calls go wrong. Put it where the fault is to happen: innermost for a model that fails.

    Several faults may be planned; each takes the calls that match it, one after the other, until it is used up.

    >>> faults = Faults().fail(ConnectionError("down"), kind="model", times=2).slow(0.5, name="search")

    Attributes:
        hits: the calls at which something went wrong, as (fault, kind, path).
    """

    name = "faults"
    kinds = NODE_KINDS | {"model", "tool", "retriever"}

    def __init__(self) -> None:
        self.hits: list[tuple[str, str, str]] = []
        self._plans: list[_Plan] = []
        self._lock = threading.Lock()

    def fail(self, error: Exception, *, kind: str = "*", name: str = "*", path: str = "*", times: int = 1) -> Faults:
        """Raise ``error`` in place of the next ``times`` calls that match; globs on kind, name and path."""
        return self._plan("fail", error, kind, name, path, times)

    def slow(self, seconds: float, *, kind: str = "*", name: str = "*", path: str = "*", times: int = 1) -> Faults:
        """Wait so long before the next ``times`` calls that match."""
        return self._plan("slow", seconds, kind, name, path, times)

    async def cancel(
        self,
        run: Coroutine[Any, Any, Any],
        *,
        kind: str = "*",
        name: str = "*",
        path: str = "*",
        patience: float = 10.0,
    ) -> None:
        """Start ``run``, cancel it as soon as a call that matches begins, and wait until it has ended.

        Raises:
            AssertionError: no such call began, the run did not end in ``patience`` seconds, or it ended otherwise than
                as cancelled.
        """
        held = asyncio.Event()
        self._plan("hold", held, kind, name, path, 1)
        task, reached = asyncio.ensure_future(run), asyncio.ensure_future(held.wait())
        await asyncio.wait({task, reached}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        was_reached = held.is_set()
        reached.cancel()
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=patience)
        assert was_reached, f"no call matched kind={kind!r} name={name!r} path={path!r}"
        assert done, f"the run went on for {patience} s after it was cancelled"
        assert task.cancelled(), f"the run ended with {task.exception() or task.result()!r}, not as cancelled"

    def break_stream(self, error: Exception, after: int, *, name: str = "*", path: str = "*", times: int = 1) -> Faults:
        """Raise ``error`` out of the model after ``after`` pieces of its stream."""
        return self._plan("break", (error, after), "model", name, path, times)

    def _plan(self, fault: _Fault, value: Any, kind: str, name: str, path: str, times: int) -> Faults:
        self._plans.append(_Plan(fault, value, (kind, name, path), times))
        return self

    async def wrap_node_call(self, call: Any, call_next: Any) -> Any:
        return await self._go(call, call_next)

    async def wrap_model_call(self, call: Any, call_next: Any) -> Any:
        return await self._go(call, call_next)

    async def wrap_tool_call(self, call: Any, call_next: Any) -> Any:
        return await self._go(call, call_next)

    async def _go(self, call: Call, call_next: Any) -> Any:
        plan = self._next(call)
        if plan is None:
            return await call_next(call)
        if plan.fault == "fail":
            raise plan.value
        if plan.fault == "hold":
            plan.value.set()
            await asyncio.Event().wait()
        if plan.fault == "slow":
            await asyncio.sleep(plan.value)
            return await call_next(call)
        return await call_next(call.replace(emit=_breaking(call, *plan.value)))

    def _next(self, call: Call) -> _Plan | None:
        with self._lock:
            for plan in self._plans:
                if plan.left and all(map(fnmatchcase, (call.kind, call.name, call.path), plan.globs)):
                    plan.left -= 1
                    self.hits.append((plan.fault, call.kind, call.path))
                    return plan
        return None


_Fault = Literal["fail", "slow", "hold", "break"]


class _Plan:
    def __init__(self, fault: _Fault, value: Any, globs: tuple[str, str, str], times: int) -> None:
        self.fault, self.value, self.globs, self.left = fault, value, globs, times


def _breaking(call: Call, error: Exception, after: int) -> Any:
    passed = 0

    async def emit(chunk: Any) -> None:
        nonlocal passed
        if passed >= after:
            raise error
        passed += 1
        await call.emit(chunk)

    return emit


@contextmanager
def disk_full(room: int = 0) -> Iterator[None]:
    """While inside, no file of this process can grow beyond ``room`` bytes: what a full disk does to a writer.

    Writes fail with ``OSError`` (EFBIG) or SQLite's "disk I/O error", in every thread.

    Raises:
        RuntimeError: it has none (Windows).
    """
    try:
        import resource
        import signal
    except ImportError:
        raise RuntimeError("this system has no limit on the size of files") from None
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), None
    if threading.current_thread() is threading.main_thread():
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        if handler is not None:
            signal.signal(signal.SIGXFSZ, handler)
