"""A small model with the same vocabulary that guesses what a large one will say."""

from __future__ import annotations

import numpy as np

from chainops.engines.llama.batch import Tokens
from chainops.engines.llama.native import Native
from chainops.engines.llama.prefixes import common_prefix
from chainops.engines.llama.sequence import Sequence
from chainops.errors import CallError

__all__ = ["DraftModel"]


class DraftModel:
    """Follows the sequences of the large model in a context of its own, under the same numbers.

    Args:
        native: the small model; as many sequences as the large one, each with cells of its own.
    """

    def __init__(self, native: Native) -> None:
        self._native = native
        self._known: dict[int, Tokens] = {}  # what is in its context, by numbers of sequences

    def guess(self, wanted: dict[Sequence, int]) -> dict[Sequence, Tokens]:
        """The likeliest tokens after the last one of each sequence, so many as are wanted. Nothing if it fails."""
        try:
            for sequence in wanted:
                self._catch_up(sequence)
            return self._go_on(wanted)
        except CallError:
            self._native.clear()
            self._known.clear()
            return {}

    def _catch_up(self, sequence: Sequence) -> None:
        """Compute what it has not seen of ``sequence``, but for the last token."""
        native, tokens = self._native, sequence.tokens[: sequence.n_past]
        known = self._known.get(sequence.id, tokens[:0])
        begin = common_prefix(known, tokens)
        if begin < len(known) and not native.remove(sequence.id, begin):
            begin = 0
        for place in range(begin, len(tokens), native.options.n_batch):
            native.batch.clear()
            native.batch.add(tokens[place : place + native.options.n_batch], place, sequence.id, last=False)
            self._compute()
        self._known[sequence.id] = tokens.copy()

    def _go_on(self, wanted: dict[Sequence, int]) -> dict[Sequence, Tokens]:
        guesses: dict[Sequence, list[int]] = {sequence: [] for sequence in wanted}
        last = {sequence: int(sequence.tokens[sequence.n_past]) for sequence in wanted}
        for step in range(max(wanted.values(), default=0)):
            asked = sorted((one for one in wanted if wanted[one] > step), key=lambda one: one.id)
            self._native.batch.clear()
            for sequence in asked:
                self._native.batch.add_one(last[sequence], sequence.n_past + step, sequence.id)
                self._known[sequence.id] = np.append(self._known[sequence.id], np.int32(last[sequence]))
            self._compute()
            for sequence, token in zip(asked, self._native.all_logits().argmax(axis=1).tolist(), strict=True):
                guesses[sequence].append(token)
                last[sequence] = token
        return {sequence: np.array(tokens, np.int32) for sequence, tokens in guesses.items()}

    def _compute(self) -> None:
        if self._native.decode():
            raise CallError("The draft model did not compute a batch", code="call.decode")
