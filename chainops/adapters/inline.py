"""Layers that do not suspend: their coroutine is driven by hand, on the caller's thread and task.

No event loop, no queue, no task. The engine of such a coroutine asks its driver to do the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from typing import Any

from chainops.adapters.chunks import Collector, closing
from chainops.adapters.scope import CURRENT
from chainops.calls import Call, Emit
from chainops.errors import CallError
from chainops.pipeline import Pipeline

__all__ = ["emit_inline", "run_inline", "stream_inline", "stream_inline_async"]


class _Ask:
    """What the engine of a hand-driven coroutine yields: the driver does the work and sends the result."""

    __slots__ = ("call",)

    def __init__(self, call: Call) -> None:
        self.call = call

    def __await__(self) -> Generator[_Ask, Any, Any]:
        return (yield self)


async def _ask(call: Call) -> Any:
    return await _Ask(call)


def _step(resume: Callable[[Any], Any], value: Any) -> _Ask:
    """Run a hand-driven coroutine to its next request; StopIteration carries its result."""
    token = CURRENT.set(None)  # the code of layers runs outside any scope
    try:
        request = resume(value)
    finally:
        CURRENT.reset(token)
    if isinstance(request, _Ask):
        return request
    raise CallError(
        "A middleware with suspends = False awaited something other than call_next or call.emit",
        hint="Remove `suspends = False` from that middleware.",
        code="call.suspended",
    )


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never suspends."""
    try:
        _step(coroutine.send, None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise CallError("A layer that does not suspend asked for the engine outside a call", code="call.suspended")


def run_inline(pipeline: Pipeline, call: Call, work: Callable[[Any], Any]) -> Any:
    """Send ``call`` through the layers; ``work(call)`` does the thing itself."""

    async def engine(inner: Call) -> Any:
        return work(inner)

    return drive(pipeline.chain(call.kind, call.off)(call.replace(engine=engine)))


def emit_inline(emit: Emit, chunk: Any) -> None:
    """Send one chunk through the layers' ``emit``."""
    drive(_emit(emit, chunk))


async def _emit(emit: Emit, chunk: Any) -> None:
    await emit(chunk)


def stream_inline(
    pipeline: Pipeline, call: Call, start: Callable[[Any], Iterator[Any]], collector: Callable[[], Collector]
) -> Generator[Any, None, Any]:
    """Chunks of ``start(call)`` as they leave the layers; the generator returns the result of the call."""
    out: list[Any] = []

    async def edge(chunk: Any) -> None:
        out.append(chunk)

    coroutine = pipeline.chain(call.kind, call.off)(call.replace(engine=_ask, emit=edge))
    resume, value = coroutine.send, None
    try:
        while True:
            try:
                request = _step(resume, value)
            except StopIteration as done:
                yield from out
                return done.value
            got = collector()
            try:
                for chunk in start(request.call):
                    got.add(chunk)
                    emit_inline(request.call.emit, chunk)
                    yield from _drained(out)
            except Exception as error:  # noqa: BLE001 - the layers decide about it
                resume, value = coroutine.throw, error
            else:
                resume, value = coroutine.send, got.result()
    finally:
        coroutine.close()


async def stream_inline_async(
    pipeline: Pipeline,
    call: Call,
    start: Callable[[Any], AsyncIterator[Any]],
    collector: Callable[[], Collector],
    results: list[Any],
) -> AsyncGenerator[Any]:
    """As :func:`stream_inline`; the result of the call is appended to ``results``."""
    out: list[Any] = []

    async def edge(chunk: Any) -> None:
        out.append(chunk)

    coroutine = pipeline.chain(call.kind, call.off)(call.replace(engine=_ask, emit=edge))
    resume, value = coroutine.send, None
    try:
        while True:
            try:
                request = _step(resume, value)
            except StopIteration as done:
                results.append(done.value)
                for chunk in out:
                    yield chunk
                return
            got = collector()
            try:
                async with closing(start(request.call)) as chunks:
                    async for chunk in chunks:
                        got.add(chunk)
                        if request.call.emit is edge:
                            yield chunk
                            continue
                        emit_inline(request.call.emit, chunk)
                        for ready in _drained(out):
                            yield ready
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the layers decide about it
                resume, value = coroutine.throw, error
            else:
                resume, value = coroutine.send, got.result()
    finally:
        coroutine.close()


def _drained(out: list[Any]) -> list[Any]:
    ready = out.copy()
    out.clear()
    return ready
