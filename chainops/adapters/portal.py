"""Layers of a synchronous call that may wait: they live on one background loop, the portal.

The caller's thread stays where it is and does the work itself whenever the layers ask for it: thread-locals,
``asyncio.run`` inside nodes, nested synchronous graphs and Ctrl-C go on working.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import suppress
from typing import Any

from chainops.adapters.chunks import Collector
from chainops.adapters.scope import CURRENT
from chainops.calls import Call, Emit
from chainops.errors import CallError
from chainops.pipeline import Pipeline

__all__ = ["Session", "emit_through_portal", "feed"]


def feed(start: Callable[[Any], Iterator[Any]], collector: Callable[[], Collector]) -> Callable[[Any], Any]:
    """The engine's part of a synchronous stream through the portal, run on the caller's thread."""

    def steps(call: Call) -> Generator[Any, None, Any]:
        got = collector()
        for chunk in start(call):
            got.add(chunk)
            yield chunk
        return got.result()

    return steps


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


class Session:
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
                emit_through_portal(call.emit, chunk)
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


def emit_through_portal(emit: Emit, chunk: Any) -> None:
    """Send one chunk through the layers' ``emit`` on their loop, and wait until it is through."""
    asyncio.run_coroutine_threadsafe(_emit(emit, chunk), _PORTAL.loop()).result()


def _resolve(reply: asyncio.Future[Any], value: Any) -> None:
    if not reply.done():
        reply.set_result(value)


def _fail(reply: asyncio.Future[Any], error: BaseException) -> None:
    if not reply.done():
        # StopIteration cannot travel through a future
        reply.set_exception(RuntimeError("engine raised StopIteration") if isinstance(error, StopIteration) else error)
