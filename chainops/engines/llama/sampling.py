"""Choosing the next token: temperature, top-k, top-p, min-p, repeat penalty, seed, and a grammar if there is one."""

from __future__ import annotations

import ctypes
import secrets
from dataclasses import dataclass
from typing import Any

from chainops.engines.llama.native import Native
from chainops.errors import CallError

__all__ = ["Sampler", "Sampling"]

RANDOM_SEED = 0xFFFFFFFF
PENALTY_WINDOW = 64


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen.

    Args:
        temperature: 0: always the likeliest token; else logits are divided by it.
        top_k: keep the k likeliest tokens; 0: keep all (slow with top_p and a large vocabulary).
        top_p: keep the likeliest tokens that together have this probability, 0..1.
        min_p: drop tokens less likely than this share of the likeliest one, 0..1.
        repeat_penalty: above 1 makes the last 64 tokens less likely; 1: off.
        seed: same seed, same text; None: another one for each call.
    """

    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    seed: int | None = None


class Sampler:
    """A sampler chain of llama.cpp for one request. Must be closed.

    ``greedy``: the likeliest token is what it would choose; whoever has all logits at hand need not ask.
    """

    def __init__(self, native: Native, sampling: Sampling, grammar: str = "") -> None:
        self.native = native
        self._grammar: Any = None
        self.greedy = sampling.temperature <= 0 and sampling.repeat_penalty == 1.0 and not grammar
        self._chain = None if self.greedy else self._build(sampling)
        if grammar:
            lib = native.lib
            self._grammar = lib.llama_sampler_init_grammar(native.vocab, grammar.encode(), b"root")
            if not self._grammar:
                self.close()
                raise CallError(
                    "llama.cpp refuses the grammar made from the tool or answer schema",
                    hint="Simplify the schema: no regular expressions, fewer nested alternatives.",
                    code="call.grammar",
                )
            self._rows, self._array = self._candidates(native.n_vocab)
            self._one_row, self._one = self._candidates(1)

    def _build(self, options: Sampling) -> Any:
        lib = self.native.lib
        greedy = options.temperature <= 0
        steps = []
        if options.repeat_penalty != 1.0 or not greedy:
            steps.append(lib.llama_sampler_init_top_k(options.top_k))  # first: what follows sorts what is left
        if options.repeat_penalty != 1.0:
            penalty = float(options.repeat_penalty)
            steps.append(lib.llama_sampler_init_penalties(self.native.n_vocab, PENALTY_WINDOW, penalty, 0.0, 0.0))
        if greedy:
            steps.append(lib.llama_sampler_init_greedy())
        else:
            seed = secrets.randbits(32) if options.seed is None else options.seed
            steps += [
                lib.llama_sampler_init_top_p(options.top_p, 1),
                lib.llama_sampler_init_min_p(options.min_p, 1),
                lib.llama_sampler_init_temp(options.temperature),
                lib.llama_sampler_init_dist(seed % RANDOM_SEED),
            ]
        chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        for step in steps:
            lib.llama_sampler_chain_add(chain, step)
        return chain

    def _candidates(self, count: int) -> tuple[Any, Any]:
        """A numpy view of ``count`` rows and the C array that shares its memory."""
        import numpy as np

        lib = self.native.lib
        data = (lib.llama_token_data * count)()
        rows = np.frombuffer(data, dtype=[("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        array = lib.llama_token_data_array(data=data, size=count, selected=-1, sorted=False)
        return rows, array

    def next(self, row: int) -> int:
        """The next token after ``row`` of the last decode.

        Raises:
            CallError: code ``call.grammar``: no token can continue the text as the grammar demands.
        """
        if self.greedy:
            return int(self.native.logits(row).argmax())
        if self._grammar is None:
            return self.native.sample(self._chain, row)
        token = self._choose(row, constrained=False)
        if not self._allowed(token):
            token = self._choose(row, constrained=True)
        self.native.lib.llama_sampler_accept(self._chain, token)
        if not self.native.is_end(token):
            self.native.lib.llama_sampler_accept(self._grammar, token)
        return token

    def _choose(self, row: int, *, constrained: bool) -> int:
        import numpy as np

        lib, rows, array = self.native.lib, self._rows, self._array
        rows["id"] = np.arange(len(rows), dtype=np.int32)
        rows["logit"] = self.native.logits(row)
        rows["logit"][self.native.silent_tokens] = -np.inf
        rows["p"] = 0
        array.data = ctypes.cast(rows.ctypes.data, type(array.data))
        array.size, array.selected, array.sorted = len(rows), -1, False
        if constrained:
            lib.llama_sampler_apply(self._grammar, ctypes.byref(array))
            if not np.isfinite(rows["logit"]).any():
                raise CallError("No token can continue the answer as its schema demands", code="call.grammar")
        lib.llama_sampler_apply(self._chain, ctypes.byref(array))
        return int(array.data[array.selected].id)

    def _allowed(self, token: int) -> bool:
        """Asks the grammar about one token only: a full pass costs hundreds of times more."""
        import numpy as np

        row, array = self._one_row, self._one
        row["id"], row["logit"], row["p"] = token, 0, 0
        array.size, array.selected, array.sorted = 1, -1, False
        self.native.lib.llama_sampler_apply(self._grammar, ctypes.byref(array))
        return bool(np.isfinite(row["logit"][0]))

    def close(self) -> None:
        """Free it. Safe to call twice."""
        for sampler in (self._chain, self._grammar):
            if sampler:
                self.native.lib.llama_sampler_free(sampler)
        self._chain = self._grammar = None
