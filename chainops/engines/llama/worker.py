"""Answers requests with one loaded model, one after the other. Runs in the session's thread."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from chainops.engines.llama.adapting import Adapting
from chainops.engines.llama.failures import ContextOverflow, ModelClosed, ModelTimeout
from chainops.engines.llama.loading import Loaded
from chainops.engines.llama.logprobs import token_logprobs
from chainops.engines.llama.request import Ask, Finished, Request
from chainops.engines.llama.sampling import Sampler
from chainops.engines.llama.text import TextStream
from chainops.engines.llama.tools import answer_grammar, tool_grammar, tools_or_answer_grammar
from chainops.errors import CallError, ChainopsError

__all__ = ["Stats", "Worker"]


@dataclass(slots=True)
class Stats:
    """Counters of a session since it was loaded; read them from any thread."""

    requests: int = 0
    cancelled: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0


class _Cancelled(Exception):
    """Nobody waits for the answer any more."""


class Worker:
    """Holds what is in the model's memory: the tokens of the last request, whose common prefix the next one reuses."""

    def __init__(self, loaded: Loaded, stats: Stats) -> None:
        self._loaded, self._native, self._stats = loaded, loaded.native, stats
        self._resident: list[int] = []
        self._adapting = Adapting(loaded)

    def run(self, request: Request) -> None:
        """Answer ``request``; every outcome but a cancellation is delivered to it. Raises nothing."""
        self._stats.requests += 1
        try:
            request.deliver(self._answer(request))
        except _Cancelled:
            self._stats.cancelled += 1
        except ChainopsError as error:
            self._stats.failed += 1
            request.deliver(error)
        except Exception as error:  # noqa: BLE001 - the thread must outlive every request
            self._stats.failed += 1
            failure = CallError(f"The model failed: {type(error).__name__}: {error}", code="call.model")
            failure.__cause__ = error
            request.deliver(failure)

    def _answer(self, request: Request) -> Finished:
        began = time.monotonic()
        self._check(request)
        ask = request.ask
        prompt = self._loaded.encoder.encode(ask.messages, ask.tools)
        if not prompt or len(prompt) + 1 > self._native.n_ctx:
            raise ContextOverflow(len(prompt), self._native.n_ctx)
        adapters, changed = self._adapting.use(ask.adapters)
        if changed:
            self._native.clear()
            self._resident.clear()
        logprobs: list[dict[str, Any]] = []
        sampler = Sampler(self._native, ask.sampling, _grammar(ask))
        try:
            cached = self._prefill(request, prompt)
            ready = time.monotonic()
            reason, count, first = self._generate(request, sampler, logprobs)
        finally:
            sampler.close()
        return Finished(
            reason=reason,
            prompt_tokens=len(prompt),
            cached_tokens=cached,
            completion_tokens=count,
            queue_ms=_ms(began - request.submitted),
            prefill_ms=_ms(ready - began),
            ttft_ms=_ms(first - request.submitted),
            decode_ms=_ms(time.monotonic() - ready),
            adapters=adapters,
            logprobs=tuple(logprobs),
        )

    def _check(self, request: Request) -> None:
        if request.cancelled:
            raise _Cancelled
        if self._native.aborted:
            raise ModelClosed
        if request.seconds_left == 0:
            raise ModelTimeout(request.ask.timeout or 0)

    def _prefill(self, request: Request, prompt: list[int]) -> int:
        """Bring the prompt into the model's memory; returns how many of its tokens were there already."""
        shared = 0
        for old, new in zip(self._resident, prompt[:-1], strict=False):  # the last one is needed for its logits
            if old != new:
                break
            shared += 1
        if shared < len(self._resident):
            shared = shared if self._native.trim(shared) else 0
            del self._resident[shared:]
        step = self._native.options.n_batch
        for begin in range(shared, len(prompt), step):
            self._check(request)
            self._decode(prompt[begin : begin + step])
        self._stats.prompt_tokens += len(prompt)
        self._stats.cached_tokens += shared
        return shared

    def _decode(self, tokens: list[int]) -> None:
        try:
            if not self._native.decode(tokens, len(self._resident)):
                raise ModelClosed
        except BaseException:
            self._native.clear()
            self._resident.clear()
            raise
        self._resident += tokens

    def _generate(
        self, request: Request, sampler: Sampler, logprobs: list[dict[str, Any]]
    ) -> tuple[Literal["stop", "length"], int, float]:
        """Generate until the end; returns the reason, the number of tokens and the time of the first one."""
        ask, native = request.ask, self._native
        text = TextStream(ask.stop)
        limit = native.n_ctx if ask.max_tokens is None else ask.max_tokens
        count, first, reason = 0, 0.0, "length"
        while count < limit:
            token = sampler.next()
            first = first or time.monotonic()
            if native.is_end(token):
                reason = "stop"
                break
            if ask.top_logprobs is not None:
                logprobs.append(token_logprobs(native, token, ask.top_logprobs))
            count += 1
            self._stats.generated_tokens += 1
            self._send(request, text.feed(native.piece(token)))
            if text.stopped:
                reason = "stop"
                break
            if count >= limit or len(self._resident) >= native.n_ctx:
                break
            self._check(request)
            self._decode([token])
        self._send(request, text.finish())
        return "stop" if reason == "stop" or text.stopped else "length", count, first or time.monotonic()

    @staticmethod
    def _send(request: Request, text: str) -> None:
        if text:
            request.deliver(text)


def _grammar(ask: Ask) -> str:
    """What the answer may be; empty: any text."""
    if ask.forced:
        return tool_grammar(ask.tools, ask.forced)
    if ask.answer_schema and ask.tools_callable:
        return tools_or_answer_grammar(ask.tools, ask.answer_schema)
    return answer_grammar(ask.answer_schema) if ask.answer_schema else ""


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
