"""One loaded model and the thread that owns it: requests go in from anywhere, text comes back where it was asked for.

Callers only submit requests and read their events. Which of them runs when is the worker's business.
"""

from __future__ import annotations

import asyncio
import atexit
import copy
import os
import queue
import threading
import weakref
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from typing import Any

from chainops.engines.llama.failures import ModelClosed, ModelTimeout, QueueFull
from chainops.engines.llama.loading import Loaded, ModelOptions, load
from chainops.engines.llama.request import Ask, Event, Finished, Request
from chainops.engines.llama.worker import Stats, Worker
from chainops.errors import CallError, ChainopsError

__all__ = ["Lease", "Session"]


class Session:
    """A model, loaded by its own thread. Made through a :class:`Lease`, so that equal callers share it.

    Args:
        options: which model, opened how.
    """

    def __init__(self, options: ModelOptions) -> None:
        self.options = options
        self.stats = Stats()
        self.leases: set[int] = set()
        self.failure: ChainopsError | None = None
        self._loaded: Loaded | None = None
        self._ready = threading.Event()
        self._lock = threading.Lock()  # never held for long: callers take it on their event loop
        self._model_lock = threading.Lock()  # keeps the model in memory while another thread counts tokens
        self._closed = False
        self._worker: Worker | None = None
        self._inbox: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="chainops-llama", daemon=True)
        self._thread.start()

    @property
    def usable(self) -> bool:
        """False once it was closed or failed to load."""
        return not self._closed and self.failure is None

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn, cancelled ones included."""
        worker = self._worker
        return self._inbox.qsize() + (len(worker.waiting) if worker is not None else 0)

    @property
    def sha256(self) -> str:
        """Hash of the model file, or "" when it is not known."""
        return self._loaded.sha256 if self._loaded else ""

    async def stream(self, ask: Ask) -> AsyncGenerator[str | Finished, None]:
        """Text as it is generated, then ``Finished``. Closing the generator stops the model within one step.

        Raises:
            ChainopsError: the model cannot be loaded, or the call failed.
            QueueFull: ``max_waiting`` calls wait already.
        """
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()
        request = Request(ask, events.put_nowait, loop)
        self._submit(request)
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
        self._submit(request)
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
        self._ready.wait()
        with self._model_lock:
            return self._usable_model().native.tokenize(text, special=True)

    def count(self, text: str) -> int:
        """Tokens of ``text``, control tokens taken as plain text. Blocks until the model is loaded."""
        self._ready.wait()
        with self._model_lock:
            return len(self._usable_model().native.tokenize(text, special=False))

    def prompt_ids(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """Tokens of the prompt that the chat template makes of ``messages``. Blocks until the model is loaded."""
        self._ready.wait()
        with self._model_lock:
            return self._usable_model().encoder.encode(messages, tools)

    def _usable_model(self) -> Loaded:
        if self.failure is not None:
            raise copy.copy(self.failure)
        if self._closed or self._loaded is None:
            raise ModelClosed
        return self._loaded

    def close(self) -> None:
        """Stop what runs, refuse what waits, free the model. Safe to call twice and from any thread."""
        with self._lock:
            if not self._closed:
                self._closed = True
                if self._loaded is not None:
                    self._loaded.native.abort()
                self._inbox.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _submit(self, request: Request) -> None:
        with self._lock:
            if self.failure is not None:
                raise copy.copy(self.failure)
            if self._closed:
                raise ModelClosed
            if (waiting := self.waiting) >= self.options.max_waiting:
                raise QueueFull(waiting)
            self._inbox.put(request)

    def _run(self) -> None:
        try:
            loaded = load(self.options)
        except Exception as error:  # noqa: BLE001 - told to every caller
            self._fail(error)
            return
        worker = Worker(loaded, self.stats)
        with self._lock:
            self._loaded, self._worker = loaded, worker
        self._ready.set()
        self._take_in(worker)
        while not self._closed:
            worker.step()
            self._take_in(worker)
        worker.close()
        with self._model_lock:
            self._loaded = None
            loaded.native.close()
        self._refuse_waiting(ModelClosed())

    def _take_in(self, worker: Worker) -> None:
        """Hand over what has come; wait for something when there is nothing to do."""
        try:
            while (request := self._inbox.get(block=not worker.busy)) is not None:
                worker.submit(request)
        except queue.Empty:
            return

    def _fail(self, error: Exception) -> None:
        failure = error if isinstance(error, ChainopsError) else None
        if failure is None:
            failure = CallError(f"Loading failed: {type(error).__name__}: {error}", code="call.model_load")
            failure.__cause__ = error
        with self._lock:
            self.failure = failure
        self._ready.set()
        _forget(self)
        self._refuse_waiting(failure)

    def _refuse_waiting(self, error: ChainopsError) -> None:
        while True:
            try:
                request = self._inbox.get_nowait()
            except queue.Empty:
                return
            if request is not None:
                request.deliver(copy.copy(error))


_sessions: dict[tuple[int, ModelOptions], Session] = {}
_registry_lock = threading.RLock()


def _forget(session: Session) -> None:
    with _registry_lock:
        for key, other in list(_sessions.items()):
            if other is session:
                del _sessions[key]


@atexit.register
def _close_all() -> None:
    for (pid, _), session in list(_sessions.items()):
        if pid == os.getpid():  # threads of the parent do not exist in a forked child
            session.close()


class Lease:
    """One owner's hold on shared sessions. The last owner that closes a session unloads the model.

    An owner that disappears without closing gives up its hold, but the model stays loaded for the next one.
    Copies and pickles of a lease are new leases without a hold.
    """

    def __init__(self) -> None:
        self.closed = False
        self._held: dict[tuple[int, ModelOptions], Session] = {}
        weakref.finalize(self, _drop, id(self), self._held).atexit = False

    def session(self, options: ModelOptions) -> Session:
        """The session for ``options`` in this process; its model begins to load if it is new. Does not block.

        Raises:
            ModelClosed: this lease was closed.
        """
        if self.closed:
            raise ModelClosed
        key = (os.getpid(), options)
        held = self._held.get(key)
        if held is not None and held.usable:
            return held
        with _registry_lock:
            session = _sessions.get(key)
            if session is None or not session.usable:
                session = _sessions[key] = Session(options)
            session.leases.add(id(self))
            self._held[key] = session
            return session

    def close(self) -> None:
        """Give up the hold for good. Blocks until a model that nobody else holds is unloaded."""
        self.closed = True
        with _registry_lock:
            mine = [session for (pid, _), session in self._held.items() if pid == os.getpid()]
            _drop(id(self), self._held)
            unused = [session for session in mine if not session.leases]
            for session in unused:
                _forget(session)
        for session in unused:
            session.close()

    def __deepcopy__(self, memo: object) -> Lease:
        return Lease()

    def __copy__(self) -> Lease:
        return Lease()

    def __reduce__(self) -> tuple[type[Lease], tuple[()]]:
        return Lease, ()


def _drop(lease: int, held: dict[tuple[int, ModelOptions], Session]) -> None:
    for session in list(held.values()):
        session.leases.discard(lease)
    held.clear()
