"""Answers many requests with one loaded model, a step at a time. Runs in the session's thread.

Each step computes one token of every running answer and a slice of the prompts that are not complete yet. Requests join
and leave between steps.
"""

from __future__ import annotations

import copy
import time
from concurrent.futures import Future
from typing import Literal

import numpy as np

from chainops.engines.llama.adapting import Adapting
from chainops.engines.llama.draft_model import DraftModel
from chainops.engines.llama.drafting import Drafter
from chainops.engines.llama.failures import CannotPin, ContextOverflow, ModelClosed, ModelTimeout
from chainops.engines.llama.kept import KeptPrefixes
from chainops.engines.llama.loading import Loaded
from chainops.engines.llama.logprobs import token_logprobs
from chainops.engines.llama.native import ABORTED, NO_ROOM
from chainops.engines.llama.planning import Planner, Row, Work
from chainops.engines.llama.request import Outbox, Request
from chainops.engines.llama.residents import Residents
from chainops.engines.llama.sequence import Sequence
from chainops.engines.llama.stats import Stats
from chainops.engines.llama.threads import Threads
from chainops.engines.llama.tools import sampler_for
from chainops.engines.llama.waiting import Waiting
from chainops.errors import CallError, ChainopsError

__all__ = ["Worker"]


class Worker:
    """Knows who waits, who runs, and what comes next.

    Args:
        loaded: the model.
        stats: is counted up.
    """

    def __init__(self, loaded: Loaded, stats: Stats) -> None:
        self.waiting = Waiting()
        self.native = loaded.native
        self._loaded, self._native, self._stats = loaded, loaded.native, stats
        self._adapting = Adapting(loaded)
        guesser = DraftModel(loaded.draft) if loaded.draft is not None else None
        self._planner = Planner(loaded.native, Drafter(loaded.native.options.n_draft, guesser))
        self._threads = Threads(loaded.native.options.n_threads)
        self._residents = Residents(loaded.native)
        self._running = self._residents.running
        self._outbox = Outbox()
        self.leaving: Future[bool] | None = None  # somebody waits until the model is unloaded
        self._blocked = False  # the first that waits did not fit, and nothing changed since

    @property
    def kept(self) -> KeptPrefixes:
        """What is left of finished calls outside of the context."""
        return self._residents.kept

    def settle(self) -> KeptPrefixes:
        """Move what is left of finished calls out of the context, and return all of it."""
        return self._residents.settle()

    @property
    def busy(self) -> bool:
        """True while something runs or waits."""
        return bool(self._running) or len(self.waiting) > 0

    def submit(self, request: Request) -> None:
        """Take a request in; it runs when it is its turn. Every outcome but a cancellation is delivered to it."""
        self.waiting.push(request)
        self._blocked = False

    def step(self) -> None:
        """Bring what runs one token further. Raises nothing."""
        began = time.perf_counter()
        try:
            for sequence in [item for item in self._running if item.request.is_over]:
                self._give_up(sequence.request, sequence)
            for request in self.waiting.prune():
                self._give_up(request)
            self._admit()
            self._residents.follow()
            if self._running:
                self._compute()
        except Exception as error:  # noqa: BLE001 - the thread must outlive every request
            self._fail_all(error)
        self._outbox.flush()
        self._stats.running = len(self._running)
        self._stats.most_running = max(self._stats.most_running, len(self._running))
        self._stats.step_s += time.perf_counter() - began

    def close(self) -> None:
        """Refuse what runs and what waits."""
        self._fail_all(ModelClosed())
        for request in self.waiting.take_all():
            request.deliver(ModelClosed())
        self._outbox.flush()

    def _admit(self) -> None:
        """Let those that waited longest run, as long as there is room for the next one."""
        while not self._blocked and len(self._running) < self._native.options.n_parallel:
            request = self.waiting.first
            if request is None:
                return
            if request.is_over:
                self.waiting.pop()
                self._give_up(request)
                continue
            try:
                sequence = self.waiting.prepared or self._prepare(request)
                sequence.sampler = sampler_for(self._native, request.ask)
            except Exception as error:  # noqa: BLE001 - a bad request must not end the thread
                self._refuse_first(request, error)
                continue
            try:
                placed = self._residents.place(sequence)
            except Exception as error:
                self._refuse_first(request, error)
                raise  # nobody knows what is in the context now
            if not placed:
                sequence.sampler.close()
                self.waiting.prepared, self._blocked = sequence, True
                return
            self.waiting.pop()
            self._stats.requests += 1
            sequence.began = time.monotonic() - sequence.encode_s

    def _refuse_first(self, request: Request, error: Exception) -> None:
        self.waiting.pop()
        self._stats.requests += 1
        self._fail(request, error)

    def _prepare(self, request: Request) -> Sequence:
        began = time.monotonic()
        encode = self._loaded.encoder.prefix if request.ask.pin else self._loaded.encoder.encode
        prompt = encode(request.ask.messages, request.ask.tools)
        window = self._native.n_ctx
        if not prompt or len(prompt) + 1 > window:
            raise ContextOverflow(len(prompt), window)
        adapted = self._adapting.find(request.ask.adapters)
        if request.ask.pin and not self.kept.is_pinned(adapted.key, np.array(prompt, np.int32)):
            room = self.kept.pinnable if self._native.can_share else 0
            if room < len(prompt):
                raise CannotPin(len(prompt), room)
        return Sequence.of(request, prompt, window, time.monotonic() - began, adapted)

    def _compute(self) -> None:
        turn = self._planner.turn(self._running)
        self._adapting.use(turn[0].adapted)
        for work in self._planner.fill(turn):
            if not self._decode(work):
                return
            self._choose(work)

    def _decode(self, work: Work) -> bool:
        """Compute a batch. False: it was not, and those whose fault it may be have failed."""
        began = time.perf_counter()
        try:
            code = self._native.decode()
        except CallError as error:
            for sequence, _ in work.parts:
                self._fail(sequence.request, copy.copy(error), sequence, whole=False)
            return False
        took = time.perf_counter() - began
        self._stats.steps += 1
        self._stats.decode_s += took
        if code == ABORTED:
            self._fail_all(ModelClosed())
        elif code == NO_ROOM:
            # The plan of cells was wrong (no case is known): the youngest gives way, the others go on undisturbed.
            youngest = self._running[-1]
            self._fail(youngest.request, CallError("The model's cache is full", code="call.decode"), youngest)
        else:
            self._planner.measured(work, took)
            self._native.use_threads(self._threads.measured(self._native.batch.count, took))
            for sequence, count in work.parts:
                sequence.n_past += count
            for row in work.rows:
                row.sequence.computed = row.sequence.n_past + len(row.draft)
            return True
        return False

    def _choose(self, work: Work) -> None:
        """Choose the next token of each row. The likeliest of many rows are found in one go."""
        now = time.monotonic()
        best: list[int] | None = None
        if sum(len(row.draft) + 1 for row in work.rows if row.sequence.greedy) > 1:
            best = self._native.all_logits().argmax(axis=1).tolist()
        for row in work.rows:
            sequence = row.sequence
            if not sequence.ready:
                sequence.ready = now
                self._stats.prompt_tokens += sequence.n_prompt
                self._stats.cached_tokens += sequence.shared
            if sequence.pinned:
                self._finish(sequence, "stop")
                continue
            try:
                self._go_on(row, best, now)
            except Exception as error:  # noqa: BLE001 - one answer fails, the others go on
                self._fail(sequence.request, error, sequence)

    def _go_on(self, row: Row, best: list[int] | None, now: float) -> None:
        """Take the next token, and those of the draft that are what comes next."""
        sequence, accepted = row.sequence, 0
        if sequence.sampler is None:
            raise RuntimeError("a running sequence has no sampler")
        for step in range(len(row.draft) + 1):
            likeliest = None if best is None else best[row.output + step]
            token = sequence.sampler.next(row.row + step, likeliest)
            if not self._take(sequence, row.row + step, token, now):
                return
            if step == len(row.draft) or token != row.draft[step]:
                break
            accepted += 1
            sequence.n_past += 1
        if len(row.draft):
            self._residents.trim(sequence)
            self._planner.drafter.told(sequence, len(row.draft), accepted)
            self._stats.drafted_tokens += len(row.draft)
            self._stats.accepted_tokens += accepted

    def _take(self, sequence: Sequence, row: int, token: int, now: float) -> bool:
        """Go on with ``token``, or end the answer: then False."""
        native, ask = self._native, sequence.request.ask
        sequence.first = sequence.first or now
        if native.is_end(token):
            self._finish(sequence, "stop")
            return False
        if ask.top_logprobs is not None:
            sequence.logprobs.append(token_logprobs(native, row, token, ask.top_logprobs))
        sequence.count += 1
        self._stats.generated_tokens += 1
        self._send(sequence, sequence.text.feed(native.piece(token)))
        if sequence.text.stopped:
            self._finish(sequence, "stop")
        elif sequence.count >= sequence.limit or sequence.n_past >= native.n_ctx:
            self._finish(sequence, "length")
        else:
            sequence.tokens[sequence.n_past] = token
            return True
        return False

    def _send(self, sequence: Sequence, text: str) -> None:
        if text:
            self._outbox.add(sequence.request, text)

    def _finish(self, sequence: Sequence, reason: Literal["stop", "length"]) -> None:
        self._send(sequence, sequence.text.finish())
        self._planner.drafter.remember(sequence)
        self._outbox.add(sequence.request, sequence.finished("stop" if sequence.text.stopped else reason))
        self._leave(sequence)

    def _leave(self, sequence: Sequence, *, whole: bool = True) -> None:
        if sequence.sampler is not None:
            sequence.sampler.close()
        self._residents.retire(sequence, keep=whole)
        self._blocked = False

    def _give_up(self, request: Request, sequence: Sequence | None = None) -> None:
        """Nobody waits any more, or its time is over."""
        self._stats.requests += sequence is None
        if not request.cancelled:
            self._fail(request, ModelTimeout(request.ask.timeout or 0), sequence)
            return
        self._stats.cancelled += 1
        if sequence is not None:
            self._leave(sequence)

    def _fail(
        self, request: Request, error: Exception, sequence: Sequence | None = None, *, whole: bool = True
    ) -> None:
        """Tell that it failed. ``whole``: what is in the context of ``sequence`` is what it says."""
        self._stats.failed += 1
        self._outbox.add(request, _as_failure(error))
        if sequence is not None:
            self._leave(sequence, whole=whole)

    def _fail_all(self, error: Exception) -> None:
        """After a failure that nobody understands: all that runs fails, the model goes on with an empty context."""
        for sequence in self._running:
            if sequence.sampler is not None:
                sequence.sampler.close()
            self._fail(sequence.request, copy.copy(error))  # one each: a shared one collects the tracebacks of all
        self._residents.reset()
        self._blocked = False


def _as_failure(error: Exception) -> ChainopsError:
    if isinstance(error, ChainopsError):
        return error
    failure = CallError(f"The model failed: {type(error).__name__}: {error}", code="call.model")
    failure.__cause__ = error
    return failure
