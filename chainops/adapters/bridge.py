"""From async middleware to whoever calls it: synchronous code, and streams that somebody pulls.

Two ways, chosen once per pipeline:

* **inline**: no layer suspends, so the coroutine is driven by hand, on the caller's thread and task. No loop,
  no queue, no task.
* otherwise a synchronous caller leaves its thread to run the node itself, while the layers live on one
  background loop (the portal), and a stream gets one task and one queue at its edge.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import aclosing, suppress
from typing import Any, Protocol

from chainops.adapters.scope import CURRENT
from chainops.calls import Call, Emit
from chainops.errors import CallError
from chainops.pipeline import Pipeline

__all__ = ["Collector", "emit_sync", "run_async", "run_sync", "stream_async", "stream_sync"]

Work = Callable[[Any], Any]


class Collector(Protocol):
    """Builds the result of a stream from its chunks."""

    def add(self, chunk: Any) -> None:
        """Take one chunk, before anybody else sees it."""

    def result(self) -> Any:
        """What the layers get as the result of the call."""


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


def _drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never suspends."""
    try:
        _step(coroutine.send, None)
    except StopIteration as done:
        return done.value
    coroutine.close()
    raise CallError("A layer that does not suspend asked for the engine outside a call", code="call.suspended")


async def run_async(pipeline: Pipeline, call: Call) -> Any:
    """Send ``call`` through the layers to its engine, on the running loop."""
    token = CURRENT.set(None)
    try:
        return await pipeline.chain(call.kind, call.off)(call)
    finally:
        CURRENT.reset(token)


def run_sync(pipeline: Pipeline, call: Call, work: Work) -> Any:
    """Send ``call`` through the layers; ``work(call)`` does the thing itself, on the calling thread."""
    if pipeline.inline:

        async def engine(inner: Call) -> Any:
            return work(inner)

        return _drive(pipeline.chain(call.kind, call.off)(call.replace(engine=engine)))
    if not pipeline.wraps(call.kind, call.off):
        return work(call)
    session = _Session(pipeline, call)

    def no_chunks(inner: Call) -> Generator[Any, None, Any]:
        yield from ()
        return work(inner)

    drive = session.drive(no_chunks)
    try:
        next(drive)
    except StopIteration as done:
        return done.value
    raise CallError(f"{call.kind} {call.name!r} streamed chunks to a caller who reads none", code="call.stream")


def stream_sync(
    pipeline: Pipeline, call: Call, start: Callable[[Any], Iterator[Any]], collector: Callable[[], Collector]
) -> Generator[Any, None, Any]:
    """Chunks of ``start(call)`` as they leave the layers; the generator returns the result of the call."""
    if not pipeline.inline:
        return (yield from _Session(pipeline, call).drive(_feed(start, collector), streams=True))
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
                    _drive(_emit(request.call.emit, chunk))
                    yield from _drained(out)
            except Exception as error:  # noqa: BLE001 - the layers decide about it
                resume, value = coroutine.throw, error
            else:
                resume, value = coroutine.send, got.result()
    finally:
        coroutine.close()


def stream_async(
    pipeline: Pipeline,
    call: Call,
    start: Callable[[Any], AsyncIterator[Any]],
    collector: Callable[[], Collector],
    results: list[Any],
) -> AsyncGenerator[Any]:
    """Chunks of ``start(call)`` as they leave the layers; the result of the call is appended to ``results``."""
    return (_inline_stream if pipeline.inline else _task_stream)(pipeline, call, start, collector, results)


async def _inline_stream(
    pipeline: Pipeline,
    call: Call,
    start: Callable[[Any], AsyncIterator[Any]],
    collector: Callable[[], Collector],
    results: list[Any],
) -> AsyncGenerator[Any]:
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
                async with _closing(start(request.call)) as chunks:
                    async for chunk in chunks:
                        got.add(chunk)
                        if request.call.emit is edge:
                            yield chunk
                            continue
                        _drive(_emit(request.call.emit, chunk))
                        for ready in _drained(out):
                            yield ready
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the layers decide about it
                resume, value = coroutine.throw, error
            else:
                resume, value = coroutine.send, got.result()
    finally:
        coroutine.close()


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
        async with _closing(start(inner)) as stream:
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


def _drained(out: list[Any]) -> list[Any]:
    ready = out.copy()
    out.clear()
    return ready


def _closing(iterator: AsyncIterator[Any]) -> Any:
    return aclosing(iterator) if hasattr(iterator, "aclose") else _NotClosing(iterator)


class _NotClosing:
    def __init__(self, iterator: AsyncIterator[Any]) -> None:
        self.iterator = iterator

    async def __aenter__(self) -> AsyncIterator[Any]:
        return self.iterator

    async def __aexit__(self, *error: object) -> None:
        return None


def _feed(start: Callable[[Any], Iterator[Any]], collector: Callable[[], Collector]) -> Callable[[Any], Any]:
    """The engine's part of a synchronous stream through the portal, run on the caller's thread."""

    def feed(call: Call) -> Generator[Any, None, Any]:
        got = collector()
        for chunk in start(call):
            got.add(chunk)
            yield chunk
        return got.result()

    return feed


class _Portal:
    """The background loop on which layers of synchronous callers live; started on first use, never stopped."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._thread is None or not self._thread.is_alive():
                # in an empty context: the loop keeps the context that made it, and with it a whole run, for ever
                self._loop = contextvars.Context().run(asyncio.new_event_loop)
                self._thread = threading.Thread(target=self._loop.run_forever, name="chainops-portal", daemon=True)
                self._thread.start()
            return self._loop

    def is_here(self) -> bool:
        return threading.current_thread() is self._thread


_PORTAL = _Portal()


class _Session:
    """One synchronous call whose layers run on the portal loop, and whose work runs on the calling thread."""

    call: Any

    def __init__(self, pipeline: Pipeline, call: Call) -> None:
        if _PORTAL.is_here():
            raise CallError(
                f"A middleware of a synchronous run called {call.kind} {call.name!r} synchronously, "
                "which would block the loop that it runs on",
                hint="Use the async form inside middleware: `await model.ainvoke(...)`.",
                code="call.blocking",
            )
        self.pipeline, self.call = pipeline, call
        self.inbox: queue.SimpleQueue[tuple[str, Any, Any, Any]] = queue.SimpleQueue()
        self.loop = _PORTAL.loop()
        self.task: asyncio.Task[None] | None = None

    async def _engine(self, call: Call) -> Any:
        """Ask the calling thread to do the work, in the context of this layer."""
        return await self._post("work", contextvars.copy_context(), call)

    async def _edge(self, chunk: Any) -> None:
        self.inbox.put(("chunk", None, chunk, None))

    def _post(self, what: str, context: Any, payload: Any) -> Awaitable[Any]:
        reply: asyncio.Future[Any] = self.loop.create_future()
        self.inbox.put((what, context, payload, reply))
        return reply

    async def _main(self, call: Call, emit: Emit | None) -> None:
        CURRENT.set(None)
        changed = call.replace(engine=self._engine) if emit is None else call.replace(engine=self._engine, emit=emit)
        try:
            done = ("result", None, await self.pipeline.chain(call.kind, call.off)(changed), None)
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            done = ("error", None, error, None)
        self.inbox.put(done)

    def _soon(self, callback: Callable[..., Any], *args: Any) -> None:
        self.loop.call_soon_threadsafe(callback, *args, context=contextvars.Context())

    def drive(
        self, feed: Callable[[Any], Generator[Any, None, Any]], *, streams: bool = False
    ) -> Generator[Any, None, Any]:
        """Serve the layers until they are done: yields what leaves them, returns the result."""
        context, call, emit = contextvars.copy_context(), self.call, self._edge if streams else None

        def begin() -> None:
            self.task = self.loop.create_task(self._main(call, emit), context=context)

        self._soon(begin)
        finished = False
        try:
            while True:
                what, at, payload, reply = self.inbox.get()
                if what == "chunk":
                    yield payload
                elif what == "work":
                    yield from self._work(feed, at, payload, reply)
                else:
                    finished = True
                    if what == "error":
                        raise payload
                    return payload
        finally:
            self.call = call = None
            if not finished:
                self._abandon()

    def _work(self, feed: Callable[[Any], Any], context: contextvars.Context, call: Call, reply: Any) -> Any:
        """Run the engine's part here. Chunks go through the layers' ``emit`` on the portal loop, one by one."""
        passes_through = call.emit == self._edge
        steps = feed(call)
        try:
            while True:
                try:
                    chunk = context.run(next, steps)
                except StopIteration as done:
                    self._soon(_resolve, reply, done.value)
                    return
                if passes_through:
                    yield chunk
                    continue
                emit_sync(self.pipeline, call.emit, chunk)
                while not self.inbox.empty():
                    yield self.inbox.get()[2]
        except Exception as error:  # noqa: BLE001 - goes to the layers first, and comes back if none handles it
            self._soon(_fail, reply, error)
        finally:
            steps.close()

    def _abandon(self) -> None:
        """The caller went away (Ctrl-C, a closed generator): cancel the layers and let them finish."""

        def cancel() -> None:
            if self.task is not None:
                self.task.cancel()

        self._soon(cancel)
        with suppress(queue.Empty):
            while self.inbox.get(timeout=2.0)[0] not in ("result", "error"):
                pass


async def _emit(emit: Emit, chunk: Any) -> None:
    await emit(chunk)


def emit_sync(pipeline: Pipeline, emit: Emit, chunk: Any) -> None:
    """Send one chunk through the layers' ``emit`` from the synchronous code of an engine."""
    if pipeline.inline:
        _drive(_emit(emit, chunk))
    else:
        asyncio.run_coroutine_threadsafe(_emit(emit, chunk), _PORTAL.loop()).result()


def _resolve(reply: asyncio.Future[Any], value: Any) -> None:
    if not reply.done():
        reply.set_result(value)


def _fail(reply: asyncio.Future[Any], error: BaseException) -> None:
    if not reply.done():
        # StopIteration cannot travel through a future
        reply.set_exception(RuntimeError("engine raised StopIteration") if isinstance(error, StopIteration) else error)
