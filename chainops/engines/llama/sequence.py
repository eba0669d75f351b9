"""One answer in the making, as the worker keeps it between two steps."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from chainops.engines.llama.adapting import Adapted
from chainops.engines.llama.batch import Tokens
from chainops.engines.llama.request import Finished, Request
from chainops.engines.llama.sampling import Sampler
from chainops.engines.llama.text import TextStream

__all__ = ["Sequence"]


@dataclass(slots=True, eq=False)
class Sequence:
    """A request with its prompt.

    Args:
        request: whose answer it is.
        tokens: prompt and answer; room for all that it may become.
        n_prompt: how many of ``tokens`` are the prompt.
        limit: at most this many tokens of answer.
        capacity: at most this many tokens in the context.
        encode_s: seconds that rendering and tokenizing took.
        adapted: the weights that it is computed with.
        n_past: how many of ``tokens`` are computed.
        leader: a running sequence whose prefix is copied as soon as ``shared`` tokens of it are computed.
        shared: tokens of the prompt that were, or will be, copied instead of computed.
        count: tokens of the answer.
        computed: tokens that are in the context; more than ``n_past`` where a draft was wrong.
        draft_rate: share of drafted tokens that were right, lately.
    """

    request: Request
    tokens: Tokens
    n_prompt: int
    limit: int
    capacity: int
    encode_s: float
    text: TextStream
    adapted: Adapted
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    id: int = -1
    cells: Tokens = field(default_factory=lambda: np.zeros(0, np.int32))
    sampler: Sampler | None = None
    n_past: int = 0
    leader: Sequence | None = None
    shared: int = 0
    count: int = 0
    computed: int = 0
    draft_rate: float = 1.0
    began: float = 0.0
    ready: float = 0.0
    first: float = 0.0

    @classmethod
    def of(cls, request: Request, prompt: list[int], window: int, encode_s: float, adapted: Adapted) -> Sequence:
        """A sequence for ``request`` in a context of ``window`` tokens."""
        limit = window if request.ask.max_tokens is None else request.ask.max_tokens
        capacity = max(min(len(prompt) + limit - 1, window), len(prompt))  # the last token is never fed back
        tokens = np.zeros(capacity + 1, np.int32)
        tokens[: len(prompt)] = prompt
        text = TextStream(request.ask.stop)
        return cls(request, tokens, len(prompt), limit, capacity, encode_s, text, adapted)

    @property
    def greedy(self) -> bool:
        """The likeliest token is the next one, whatever its sampler."""
        return self.sampler is not None and self.sampler.greedy

    @property
    def pinned(self) -> bool:
        """It is there to be kept: its prompt is complete, and so is it."""
        return self.request.ask.pin and self.n_past >= self.n_prompt

    @property
    def prompt(self) -> Tokens:
        """The tokens of the prompt."""
        return self.tokens[: self.n_prompt]

    def finished(self, reason: Literal["stop", "length"]) -> Finished:
        """How it ended, now."""
        submitted, now = self.request.submitted, time.monotonic()
        return Finished(
            reason=reason,
            prompt_tokens=self.n_prompt,
            cached_tokens=self.shared,
            completion_tokens=self.count,
            queue_ms=_ms(self.began - submitted),
            prefill_ms=_ms(self.ready - self.began),
            ttft_ms=_ms((self.first or now) - submitted),
            decode_ms=_ms(now - self.ready),
            adapters=self.adapted.uses,
            logprobs=tuple(self.logprobs),
        )


def _ms(seconds: float) -> float:
    return round(max(seconds, 0.0) * 1000, 3)
