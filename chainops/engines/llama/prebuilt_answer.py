"""One answer of xllamacpp: what its server is asked, and what comes out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from chainops.engines.llama.calling import CLOSE
from chainops.engines.llama.failures import ContextOverflow, ModelClosed
from chainops.engines.llama.prebuilt_library import PrebuiltServer, answer_rules
from chainops.engines.llama.prompt import PromptEncoder
from chainops.engines.llama.request import Ask, Finished, Request
from chainops.errors import CallError, ChainopsError, MissingExtra

if TYPE_CHECKING:
    from chainops.engines.llama.prebuilt import PrebuiltSession

__all__ = ["Completion"]

SAMPLERS = ["top_k", "penalties", "top_p", "min_p", "temperature"]
PENALTY_WINDOW = 64


class Completion:
    """One answer on its way out of the server."""

    def __init__(self, session: PrebuiltSession, request: Request) -> None:
        self._session, self._request = session, request
        self._began, self._first = time.monotonic(), 0.0
        self._logprobs: list[dict[str, Any]] = []
        self._error: ChainopsError | None = None
        self._last: dict[str, Any] | None = None

    def run(self, server: PrebuiltServer, encoder: PromptEncoder, window: int) -> None:
        ask = self._request.ask
        if ask.adapters:
            raise MissingExtra("llama", package="llama-cpp-python", needed_for="An adapter of a local model")
        prompt = encoder.encode(ask.messages, ask.tools)
        if not prompt or len(prompt) + 1 > window:
            raise ContextOverflow(len(prompt), window)
        server.complete(_body(ask, prompt), self._take)
        if self._session._closed:
            raise ModelClosed
        if self._error is not None:
            raise self._error
        if self._last is not None:
            self._request.deliver(self._finished(self._last))

    def _take(self, piece: dict[str, Any]) -> bool:
        """A piece of the answer; True ends it."""
        if "error" in piece:
            self._error = CallError(f"xllamacpp failed: {piece['error'].get('message')}", code="call.model")
            if "grammar" in str(piece["error"].get("message")):
                self._error = CallError("xllamacpp refuses the schema of a tool or answer", code="call.grammar")
            return True
        if self._session._closed or self._request.is_over:
            self._session.stats.cancelled += 1
            return True
        choice = piece["choices"][0]
        self._first = self._first or time.monotonic()
        logprobs = (choice.get("logprobs") or {}).get("content") or ()
        self._logprobs += [_logprob(one) for one in logprobs if one["bytes"]]
        if choice["text"]:
            self._request.deliver(choice["text"])
        if "timings" in piece:
            self._last = piece
        return False

    def _finished(self, last: dict[str, Any]) -> Finished:
        usage, timings, stats = last["usage"], last["timings"], self._session.stats
        cached = int((usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0))
        stats.prompt_tokens += usage["prompt_tokens"]
        stats.cached_tokens += cached
        stats.generated_tokens += usage["completion_tokens"]
        return Finished(
            reason="length" if last["choices"][0]["finish_reason"] == "length" else "stop",
            prompt_tokens=usage["prompt_tokens"],
            cached_tokens=cached,
            completion_tokens=usage["completion_tokens"],
            queue_ms=round((self._began - self._request.submitted) * 1000, 3),
            prefill_ms=float(timings["prompt_ms"]),
            ttft_ms=round(((self._first or self._began) - self._request.submitted) * 1000, 3),
            decode_ms=float(timings["predicted_ms"]),
            logprobs=tuple(self._logprobs),
        )


def _logprob(one: dict[str, Any]) -> dict[str, Any]:
    kept = ("token", "bytes", "logprob")
    return {**{k: one[k] for k in kept}, "top_logprobs": [{k: top[k] for k in kept} for top in one["top_logprobs"]]}


def _body(ask: Ask, prompt: list[int]) -> dict[str, Any]:
    """What the server is asked."""
    sampling = ask.sampling
    body: dict[str, Any] = {
        "prompt": prompt,
        "stream": True,
        "cache_prompt": True,
        "n_predict": -1 if ask.max_tokens is None else ask.max_tokens,
        "stop": [text for text in ask.stop if text],
        "samplers": SAMPLERS,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repeat_penalty,
        "repeat_last_n": PENALTY_WINDOW,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "logit_bias": [list(pair) for pair in sampling.logit_bias],
        "seed": -1 if sampling.seed is None else sampling.seed % 0xFFFFFFFF,
    }
    if ask.one_call and ask.tools_callable and not ask.forced:
        body["stop"].append(CLOSE)  # a call that is whole counts without it
    if ask.top_logprobs is not None:
        body["logprobs"] = max(ask.top_logprobs, 1)
    if rules := answer_rules(ask):
        body["grammar"] = rules
    return body
