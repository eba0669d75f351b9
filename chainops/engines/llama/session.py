"""One loaded model and the thread that owns it: requests go in from anywhere, text comes back where it was asked for.

Callers only submit requests and read their events. Which of them runs when is the worker's business.
"""

from __future__ import annotations

import asyncio
import copy
import os
import queue
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from chainops.engines.llama.failures import ModelClosed, ModelTimeout, QueueFull
from chainops.engines.llama.kept import Kept
from chainops.engines.llama.loading import Loaded, ModelOptions, load
from chainops.engines.llama.request import Ask, Event, Finished, Request
from chainops.engines.llama.stats import Stats
from chainops.engines.llama.tasks import Task, Unload
from chainops.engines.llama.worker import Worker
from chainops.errors import CallError, ChainopsError

__all__ = ["Session"]

Result = TypeVar("Result")


class Session:
    """A model, loaded by its own thread. Made through a :class:`Lease`, so that equal callers share it.

    Args:
        options: which model, opened how.
        failed: is told when the model cannot be loaded.
        make_room: is told how many bytes it will take, before they are.
    """

    def __init__(
        self,
        options: ModelOptions,
        failed: Callable[[Session], None] = lambda _session: None,
        make_room: Callable[[Session, int], None] = lambda _session, _need: None,
    ) -> None:
        self.options = options
        self.stats = Stats()
        self.leases: set[int] = set()
        self.pid = os.getpid()
        self.need = 0  # bytes that the model takes, estimated; set by make_room
        self.last_used = time.monotonic()
        self.failure: ChainopsError | None = None
        self._failed, self._make_room = failed, make_room
        self._loaded: Loaded | None = None
        self._pinned: list[Kept] = []
        self._sha256 = ""
        self._ready = threading.Event()
        self._lock = threading.Lock()  # never held for long: callers take it on their event loop
        self._model_lock = threading.Lock()  # keeps the model in memory while another thread counts tokens
        self._closed = False
        self._ending = False  # no new calls
        self._worker: Worker | None = None
        self._inbox: queue.SimpleQueue[Request | Task[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="chainops-llama", daemon=True)
        self._thread.start()

    @property
    def usable(self) -> bool:
        """False once it was closed or failed to load."""
        return not self._ending and self.failure is None

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn, cancelled ones included."""
        worker = self._worker
        return self._inbox.qsize() + (len(worker.waiting) if worker is not None else 0)

    @property
    def sha256(self) -> str:
        """Hash of the model file, or "" when it is not known."""
        return self._sha256

    async def stream(self, ask: Ask) -> AsyncGenerator[str | Finished, None]:
        """Text as it is generated, then ``Finished``. Closing the generator stops the model within one step.

        Raises:
            ChainopsError: the model cannot be loaded, or the call failed.
            QueueFull: ``max_waiting`` calls wait already.
        """
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()
        request = Request(ask, events.put_nowait, loop)
        self._put(request)
        try:
            while True:
                async with asyncio.timeout(request.seconds_left):
                    event = await events.get()
                if isinstance(event, BaseException):
                    raise event
                yield event
                if isinstance(event, Finished):
                    return
        except TimeoutError:
            raise ModelTimeout(ask.timeout or 0) from None
        finally:
            request.cancelled = True

    def stream_sync(self, ask: Ask) -> Generator[str | Finished, None, None]:
        """The same for a caller that blocks; works inside a running event loop as well."""
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        request = Request(ask, events.put)
        self._put(request)
        try:
            while True:
                event = events.get(timeout=request.seconds_left)
                if isinstance(event, BaseException):
                    raise event
                yield event
                if isinstance(event, Finished):
                    return
        except queue.Empty:
            raise ModelTimeout(ask.timeout or 0) from None
        finally:
            request.cancelled = True

    def token_ids(self, text: str) -> list[int]:
        """Tokens of ``text``, control tokens recognised. Blocks until the model is loaded."""
        with self._using() as loaded:
            return loaded.native.tokenize(text, special=True)

    def count(self, text: str) -> int:
        """Tokens of ``text``, control tokens taken as plain text. Blocks until the model is loaded."""
        with self._using() as loaded:
            return len(loaded.native.tokenize(text, special=False))

    def prompt_ids(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """Tokens of the prompt that the chat template makes of ``messages``. Blocks until the model is loaded."""
        with self._using() as loaded:
            return loaded.encoder.encode(messages, tools)

    def between_steps(self, work: Callable[[Worker], Result]) -> Future[Result]:
        """What ``work`` returns, which the model's thread runs between two steps; it should be short."""
        task = Task(work)
        self._put(task)
        return task.future

    def unload(self) -> Future[bool]:
        """Take the model out of memory unless something runs; the next call loads it again. False: something runs."""
        task = Unload()
        self._put(task)
        return task.future

    def wait_until_loaded(self) -> None:
        """Block until the model is there.

        Raises:
            ChainopsError: it cannot be loaded, or is closed.
        """
        with self._using():
            return

    @contextmanager
    def _using(self) -> Iterator[Loaded]:
        """The model, which stays in memory meanwhile."""
        while True:
            with self._model_lock:
                if self.failure is not None:
                    raise copy.copy(self.failure)
                if self._closed:
                    raise ModelClosed
                if self._loaded is not None:
                    yield self._loaded
                    return
            self._inbox.put(Task(lambda _worker: None))  # loads what was unloaded
            self._ready.wait()

    def close(self, *, drain: bool = False) -> None:
        """Refuse new calls, stop what runs, refuse what waits, free the model. Safe to call twice, from any thread.

        Args:
            drain: answer first what was asked before.
        """
        with self._lock:
            self._ending = True
            if not drain and not self._closed:
                self._closed = True
                if self._loaded is not None:
                    self._loaded.native.abort()
            self._inbox.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _put(self, item: Request | Task[Any]) -> None:
        with self._lock:
            if self.failure is not None:
                raise copy.copy(self.failure)
            if self._ending:
                raise ModelClosed
            if isinstance(item, Request) and (waiting := self.waiting) >= self.options.max_waiting:
                raise QueueFull(waiting)
            self.last_used = time.monotonic()
            self._inbox.put(item)

    def _run(self) -> None:
        item: Request | Task[Any] | None = None
        while not self._closed:
            try:
                worker = self._load()
            except Exception as error:  # noqa: BLE001 - told to every caller
                self._fail(error, item)
                return
            if item is not None:
                item.give(worker)
            self._serve(worker)
            self._unload(worker)
            if self._ending:
                break
            item = self._inbox.get()
            if item is None:
                break
        self._closed = True
        self._ready.set()
        self._refuse_waiting(ModelClosed())

    def _load(self) -> Worker:
        loaded = load(self.options, lambda need: self._make_room(self, need))
        worker = Worker(loaded, self.stats)
        for kept in self._pinned:
            worker.kept.add(kept.adapters, kept.tokens, kept.state, pinned=True)
        with self._lock:
            self._loaded, self._worker, self._sha256 = loaded, worker, loaded.sha256
            self.stats.loads += 1
        self._ready.set()
        return worker

    def _unload(self, worker: Worker) -> None:
        worker.close()
        with self._lock, self._model_lock:
            self._ready.clear()
            loaded, self._loaded, self._worker = self._loaded, None, None
            self._pinned = worker.kept.pinned
            if loaded is not None:
                loaded.close()
            self.need = 0
        if worker.leaving is not None:
            worker.leaving.set_result(True)

    def _serve(self, worker: Worker) -> None:
        """Answer until the end, or until nobody has asked for ``idle_seconds``."""
        while self._take_in(worker) and not self._closed:
            worker.step()
            if self._ending and not worker.busy and self._inbox.empty():
                return

    def _take_in(self, worker: Worker) -> bool:
        """Hand over what has come; wait for something when there is nothing to do. False: nothing came in time."""
        try:
            while True:
                wait = not worker.busy and not self._ending
                item = self._inbox.get(block=wait, timeout=self.options.idle_seconds if wait else None)
                if item is None:
                    return True
                item.give(worker)
                if worker.leaving is not None:
                    return False
        except queue.Empty:
            return worker.busy or self._ending

    def _fail(self, error: Exception, item: Request | Task[Any] | None) -> None:
        failure = error if isinstance(error, ChainopsError) else None
        if failure is None:
            failure = CallError(f"Loading failed: {type(error).__name__}: {error}", code="call.model_load")
            failure.__cause__ = error
        with self._lock:
            self.failure, self.need = failure, 0
        self._ready.set()
        self._failed(self)
        if item is not None:
            item.deliver(copy.copy(failure))
        self._refuse_waiting(failure)

    def _refuse_waiting(self, error: ChainopsError) -> None:
        while True:
            try:
                request = self._inbox.get_nowait()
            except queue.Empty:
                return
            if request is not None:
                request.deliver(copy.copy(error))
