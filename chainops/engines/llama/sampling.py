"""Choosing the next token: temperature, top-k, top-p, min-p, penalties, biases, seed, and a grammar if there is one."""

from __future__ import annotations

import ctypes
import secrets
from dataclasses import dataclass
from typing import Any

from chainops.engines.llama.calling import CallWatch
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
        frequency_penalty: taken from a token's logit for each time that it is among the last 64; 0: off.
        presence_penalty: taken from a token's logit if it is among the last 64; 0: off.
        logit_bias: token and what is added to its logit, before everything else.
        seed: same seed, same text; None: another one for each call.
    """

    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    seed: int | None = None

    @property
    def penalises(self) -> bool:
        """What was said before counts."""
        return self.repeat_penalty != 1.0 or self.frequency_penalty != 0.0 or self.presence_penalty != 0.0


class Sampler:
    """A sampler chain of llama.cpp for one request. Must be closed.

    Args:
        grammar: of the whole answer; empty: any text.
        watch: where calls may begin inside free text; after the only call that it allows, the answer ends.

    Raises:
        CallError: ``call.grammar``: llama.cpp refuses it; ``call.option``: a biased token is none of the model's.
    """

    def __init__(self, native: Native, sampling: Sampling, grammar: str = "", watch: CallWatch | None = None) -> None:
        self.native = native
        self._sampling, self._watch = sampling, watch
        self._grammar: Any = None
        self._chain: Any = None
        self._likeliest = sampling.temperature <= 0 and not sampling.penalises and not sampling.logit_bias
        self._rows: Any = None
        self._over = False
        if grammar:
            self._begin_grammar(grammar)
            self._likeliest = False
        if not self._likeliest:
            self._chain = self._build(sampling)

    @property
    def greedy(self) -> bool:
        """The likeliest token is what it would choose; whoever has all logits at hand tells it to :meth:`next`."""
        return self._likeliest and self._grammar is None and not self._over

    def _begin_grammar(self, grammar: str) -> None:
        lib = self.native.lib
        self._grammar = lib.llama_sampler_init_grammar(self.native.vocab, grammar.encode(), b"root") or None
        if self._grammar is None:
            self.close()
            raise CallError(
                "llama.cpp refuses the grammar made from the tool or answer schema",
                hint="Simplify the schema: no regular expressions, fewer nested alternatives.",
                code="call.grammar",
            )
        if self._rows is None:
            self._rows, self._array = self._candidates(self.native.n_vocab)
            self._one_row, self._one = self._candidates(1)

    def _build(self, options: Sampling) -> Any:
        lib, window = self.native.lib, PENALTY_WINDOW
        greedy = options.temperature <= 0
        steps = [self._biases(options.logit_bias)] if options.logit_bias else []
        if options.penalises or not greedy:
            steps.append(lib.llama_sampler_init_top_k(options.top_k))  # first: what follows sorts what is left
        if options.penalises:
            penalties = (options.repeat_penalty, options.frequency_penalty, options.presence_penalty)
            steps.append(lib.llama_sampler_init_penalties(self.native.n_vocab, window, *map(float, penalties)))
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

    def _biases(self, biases: tuple[tuple[int, float], ...]) -> Any:
        lib, most = self.native.lib, self.native.n_vocab
        for token, _ in biases:
            if not 0 <= token < most:
                self.close()
                raise CallError(f"logit_bias names token {token}; this model has 0 to {most - 1}", code="call.option")
        rows = (lib.llama_logit_bias * len(biases))(*(lib.llama_logit_bias(token, bias) for token, bias in biases))
        return lib.llama_sampler_init_logit_bias(most, len(biases), rows)

    def _candidates(self, count: int) -> tuple[Any, Any]:
        """A numpy view of ``count`` rows and the C array that shares its memory."""
        import numpy as np

        lib = self.native.lib
        data = (lib.llama_token_data * count)()
        rows = np.frombuffer(data, dtype=[("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        array = lib.llama_token_data_array(data=data, size=count, selected=-1, sorted=False)
        return rows, array

    def next(self, row: int, likeliest: int | None = None) -> int:
        """The next token after ``row`` of the last decode.

        Args:
            likeliest: the token with the largest logit, where somebody knows it.

        Raises:
            CallError: code ``call.grammar``: no token can continue the text as the grammar demands.
        """
        if self._over:
            return self.native.end_token
        if self._grammar is not None:
            return self._next_by_grammar(row)
        if not self._likeliest:
            token = self.native.sample(self._chain, row)
        else:
            token = int(self.native.logits(row).argmax()) if likeliest is None else likeliest
        return token if self._watch is None or self.native.is_end(token) else self._watched(self._watch, row, token)

    def _next_by_grammar(self, row: int, token: int | None = None) -> int:
        """The next token that the grammar allows: ``token``, if it does."""
        token = self._choose(row, constrained=False) if token is None else token
        if not self._allowed(token):
            token = self._choose(row, constrained=True)
        self.native.lib.llama_sampler_accept(self._chain, token)
        if not self.native.is_end(token):
            self.native.lib.llama_sampler_accept(self._grammar, token)
            self._look_for_the_end(token)
        return token

    def _watched(self, watch: CallWatch, row: int, token: int) -> int:
        """The token in free text or in a free call: if a call begins in it, another one, where it begins wrong."""
        if watch.inside:
            self._look_for_the_end(token)
            return token
        opened = watch.opened(self.native.piece(token))
        if opened is None:
            return token
        before, behind = opened
        grammar = watch.grammar(before.decode(errors="replace") if behind else "")
        if not grammar:
            watch.closed(behind)
            return token
        self._begin_grammar(grammar)
        self._chain = self._chain or self._build(self._sampling)
        return self._next_by_grammar(row, token) if behind else token

    def _look_for_the_end(self, token: int) -> None:
        """Behind a call the text is free again, or the answer over."""
        watch = self._watch
        if watch is not None and watch.closed(self.native.piece(token)) and (self._grammar is None or self._may_end()):
            self._end_grammar()
            watch.leave()
            self._over = watch.once

    def _may_end(self) -> bool:
        return self._allowed(self.native.end_token)

    def _end_grammar(self) -> None:
        if self._grammar:
            self.native.lib.llama_sampler_free(self._grammar)
        self._grammar = None

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
