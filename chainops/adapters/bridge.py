"""From async middleware to whoever calls it: synchronous code, and streams that somebody pulls.

Two ways, chosen once per pipeline:

* **inline** (``inline.py``): no layer suspends, so the coroutine is driven by hand. No loop, no queue, no task.
* otherwise a synchronous caller leaves its thread to run the node itself, while the layers live on one background
  loop (``portal.py``), and an asynchronous stream gets one task and one queue, here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import suppress
from typing import Any

from chainops.adapters.chunks import Collector, closing
from chainops.adapters.inline import emit_inline, run_inline, stream_inline, stream_inline_async
from chainops.adapters.portal import Session, emit_through_portal, feed
from chainops.adapters.scope import CURRENT
from chainops.calls import Call, Emit
from chainops.errors import CallError
from chainops.pipeline import Pipeline

__all__ = ["emit_sync", "run_async", "run_sync", "stream_async", "stream_sync"]


async def run_async(pipeline: Pipeline, call: Call) -> Any:
    """Send ``call`` through the layers to its engine, on the running loop."""
    token = CURRENT.set(None)
    try:
        return await pipeline.chain(call.kind, call.off)(call)
    finally:
        CURRENT.reset(token)


def run_sync(pipeline: Pipeline, call: Call, work: Callable[[Any], Any]) -> Any:
    """Send ``call`` through the layers; ``work(call)`` does the thing itself, on the calling thread."""
    if pipeline.inline:
        return run_inline(pipeline, call, work)
    if not pipeline.wraps(call.kind, call.off):
        return work(call)
    session = Session(pipeline, call)

    def no_chunks(inner: Call) -> Generator[Any, None, Any]:
        yield from ()
        return work(inner)

    drive = session.drive(no_chunks)
    try:
        next(drive)
    except StopIteration as done:
        return done.value
    raise CallError(f"{call.kind} {call.name!r} streamed chunks to a caller who reads none", code="call.stream")


def emit_sync(pipeline: Pipeline, emit: Emit, chunk: Any) -> None:
    """Send one chunk through the layers' ``emit`` from the synchronous code of an engine."""
    (emit_inline if pipeline.inline else emit_through_portal)(emit, chunk)


def stream_sync(
    pipeline: Pipeline, call: Call, start: Callable[[Any], Iterator[Any]], collector: Callable[[], Collector]
) -> Generator[Any, None, Any]:
    """Chunks of ``start(call)`` as they leave the layers; the generator returns the result of the call."""
    if pipeline.inline:
        return stream_inline(pipeline, call, start, collector)
    return Session(pipeline, call).drive(feed(start, collector), streams=True)


def stream_async(
    pipeline: Pipeline,
    call: Call,
    start: Callable[[Any], AsyncIterator[Any]],
    collector: Callable[[], Collector],
    results: list[Any],
) -> AsyncGenerator[Any]:
    """Chunks of ``start(call)`` as they leave the layers; the result of the call is appended to ``results``."""
    return (stream_inline_async if pipeline.inline else _task_stream)(pipeline, call, start, collector, results)


async def _task_stream(
    pipeline: Pipeline,
    call: Call,
    start: Callable[[Any], AsyncIterator[Any]],
    collector: Callable[[], Collector],
    results: list[Any],
) -> AsyncGenerator[Any]:
    chunks: asyncio.Queue[Any] = asyncio.Queue(maxsize=1)
    end = object()

    async def engine(inner: Call) -> Any:
        got = collector()
        async with closing(start(inner)) as stream:
            async for chunk in stream:
                got.add(chunk)
                await inner.emit(chunk)
        return got.result()

    async def run() -> None:
        CURRENT.set(None)
        try:
            results.append(await pipeline.chain(call.kind, call.off)(call.replace(engine=engine, emit=chunks.put)))
        finally:
            with suppress(asyncio.QueueFull):
                chunks.put_nowait(end)

    task = asyncio.create_task(run(), name=f"chainops {call.kind} {call.name}")
    try:
        while True:
            if task.done() and chunks.empty():
                break
            chunk = await chunks.get()
            if chunk is end:
                break
            yield chunk
        await task
    finally:
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
