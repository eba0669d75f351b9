"""A model run by xllamacpp, with the face of :class:`~chainops.engines.llama.session.Session`.

llama.cpp's own server decides which calls run when; what its interface does not offer is refused by name.
"""

from __future__ import annotations

import copy
import itertools
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Never

from chainops.engines.llama.failures import ModelClosed, QueueFull
from chainops.engines.llama.loading import DEFAULT_CONTEXT, ModelOptions, encoder_for, threads_for
from chainops.engines.llama.model_file import check_model_file
from chainops.engines.llama.prebuilt_answer import Completion
from chainops.engines.llama.prebuilt_library import PrebuiltServer, prebuilt_version
from chainops.engines.llama.probe import PROBE_CONTEXT, PROBE_TEXT, ensure_probed
from chainops.engines.llama.prompt import PromptEncoder
from chainops.engines.llama.request import Request
from chainops.engines.llama.room import plan_room
from chainops.engines.llama.session import Session
from chainops.engines.llama.stats import Stats
from chainops.errors import CallError, ChainopsError, MissingExtra, SetupError

__all__ = ["PrebuiltSession", "trial"]

ONLY_COMPILED = ("n_draft", "draft_model", "idle_seconds")


class PrebuiltSession(Session):
    """A model, loaded by a thread of its own; ``n_parallel`` threads wait for its answers.

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
        self.options, self.stats, self.leases, self.pid = options, Stats(), set(), os.getpid()
        self.need, self.last_used, self.failure = 0, time.monotonic(), None
        self._failed, self._make_room, self._sha256 = failed, make_room, ""
        self._ready, self._lock = threading.Event(), threading.Lock()
        self._closed = self._ending = False
        self._server: PrebuiltServer | None = None
        self._encoder: PromptEncoder | None = None
        self._window = 0
        self._queue: queue.PriorityQueue[tuple[int, int, Request | None]] = queue.PriorityQueue()
        self._numbers = itertools.count()
        self._threads = [
            threading.Thread(target=self._answer, name="chainops-llama", daemon=True) for _ in range(options.n_parallel)
        ]
        threading.Thread(target=self._run, name="chainops-llama-load", daemon=True).start()

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn, cancelled ones included."""
        return self._queue.qsize()

    def token_ids(self, text: str) -> list[int]:
        """Tokens of ``text``, control tokens recognised. Blocks until the model is loaded."""
        return self._there()[0].tokenize(text, True, False)

    def count(self, text: str) -> int:
        """Tokens of ``text``, control tokens taken as plain text. Blocks until the model is loaded."""
        return len(self._there()[0].tokenize(text, False, False))

    def prompt_ids(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """Tokens of the prompt that the chat template makes of ``messages``. Blocks until the model is loaded."""
        return self._there()[1].encode(messages, tools)

    def between_steps(self, work: Any) -> Never:
        """This engine has no steps of its own.

        Raises:
            MissingExtra: what was asked for needs llama-cpp-python.
        """
        raise MissingExtra("llama", package="llama-cpp-python", needed_for="Keeping prefixes of a local model")

    def unload(self) -> Future[bool]:
        """It stays in memory until it is closed."""
        done: Future[bool] = Future()
        done.set_result(False)
        return done

    def wait_until_loaded(self) -> None:
        """Block until the model is there.

        Raises:
            ChainopsError: it cannot be loaded, or is closed.
        """
        self._there()

    def close(self, *, drain: bool = False) -> None:
        """Refuse new calls, stop what runs, refuse what waits, free the model. Safe to call twice, from any thread.

        Args:
            drain: answer first what was asked before.
        """
        with self._lock:
            self._ending = True
            self._closed = self._closed or not drain
        self._ready.wait()
        last = 1 << 62
        for _ in self._threads:
            self._queue.put((last if drain else -last, next(self._numbers), None))
        for thread in self._threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join()
        self._closed = True
        self._refuse_waiting(ModelClosed())
        with self._lock:
            server, self._server, self.need = self._server, None, 0
        if server is not None:
            server.close()

    def _put(self, item: Any) -> None:
        with self._lock:
            if self.failure is not None:
                raise copy.copy(self.failure)
            if self._ending:
                raise ModelClosed
            if self._queue.qsize() >= self.options.max_waiting:
                raise QueueFull(self._queue.qsize())
            if item.ask.pin:
                self.between_steps(item)
            self.last_used = time.monotonic()
            self._queue.put((-item.ask.priority, next(self._numbers), item))

    def _there(self) -> tuple[PrebuiltServer, PromptEncoder]:
        self._ready.wait()
        server, encoder = self._server, self._encoder
        if self.failure is not None:
            raise copy.copy(self.failure)
        if server is None or encoder is None:
            raise ModelClosed
        return server, encoder

    def _run(self) -> None:
        try:
            self._open()
        except Exception as error:  # noqa: BLE001 - told to every caller
            failure = error if isinstance(error, ChainopsError) else None
            self.failure = failure or CallError(
                f"Loading failed: {type(error).__name__}: {error}", code="call.model_load"
            )
            self._failed(self)
            self._refuse_waiting(self.failure)
            self._threads.clear()
        for thread in self._threads:
            thread.start()
        self._ready.set()

    def _open(self) -> None:
        options = self.options
        for name in ONLY_COMPILED:
            if getattr(options, name):
                raise SetupError(
                    f"{name} needs llama-cpp-python; only xllamacpp is installed",
                    hint=f"Leave {name} out, or pip install 'chainops[llama]' (compiles for some minutes).",
                    code="setup.option",
                )
        file = check_model_file(options.path, sha256=options.sha256)
        n_ctx = options.n_ctx or min(file.trained_context, DEFAULT_CONTEXT)
        room = plan_room(
            file,
            n_ctx=n_ctx,
            n_parallel=options.n_parallel,
            n_cells=options.n_cells,
            n_kept=options.n_kept,
            layout=options.kv_layout,
            kv_type=options.kv_type,
        )
        self._sha256 = file.sha256
        if options.probe is True or (options.probe == "auto" and not file.sha256):
            self._sha256 = ensure_probed(file, always=options.probe is True, prebuilt=prebuilt_version() or "?")
        self._make_room(self, room.need)
        server = PrebuiltServer(
            Path(options.path), options, n_ctx=n_ctx, n_threads=options.n_threads or threads_for(file)
        )
        self._window, self._server = n_ctx, server
        self._encoder = encoder_for(file, options.chat_template, server.tokenize)
        self.stats.loads += 1

    def _answer(self) -> None:
        """One of the threads that wait for answers."""
        while True:
            request = self._queue.get()[2]
            if request is None:
                return
            self.stats.requests += 1
            if request.is_over:
                self.stats.cancelled += 1
                continue
            self.stats.running += 1
            self.stats.most_running = max(self.stats.most_running, self.stats.running)
            try:
                Completion(self, request).run(*self._there(), self._window)
            except ChainopsError as error:
                self.stats.failed += 1
                request.deliver(error)
            except Exception as error:  # noqa: BLE001 - told to whoever waits
                self.stats.failed += 1
                request.deliver(CallError(f"The model failed: {type(error).__name__}: {error}", code="call.model"))
            finally:
                self.stats.running -= 1

    def _refuse_waiting(self, error: ChainopsError) -> None:
        while True:
            try:
                request = self._queue.get_nowait()[2]
            except queue.Empty:
                return
            if request is not None:
                request.deliver(copy.copy(error))


def trial(path: Path) -> str:
    """Load the model at ``path`` and decode with it: for a process of its own. Why it failed; empty: it did not."""
    options = ModelOptions(path=str(path), n_parallel=1)
    server = PrebuiltServer(path, options, n_ctx=PROBE_CONTEXT, n_threads=1)
    tokens = server.tokenize(PROBE_TEXT, True, True)[: PROBE_CONTEXT // 2]
    pieces: list[dict[str, Any]] = []
    server.complete({"prompt": tokens, "n_predict": 2, "temperature": 0, "stream": True}, pieces.append)
    server.close()
    wrong = [piece["error"] for piece in pieces if "error" in piece]
    return str(wrong[0].get("message")) if wrong else "" if pieces else "it answers nothing"
