"""Guesses of what comes next in an answer, which the model then checks many at a time.

Answers repeat what stands in the prompt, and calls of a tool repeat the last call of it: names, keys, punctuation. What
followed the same tokens there is computed together with the next token. Of these guesses, those are kept that the model
chooses itself, so that an answer is the same as without; only the number of steps differs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import numpy as np

from chainops.engines.llama.batch import Tokens
from chainops.engines.llama.draft_model import DraftModel
from chainops.engines.llama.request import Ask
from chainops.engines.llama.sequence import Sequence

__all__ = ["NOTHING", "Drafter", "continuation"]

LONGEST, SHORTEST = 4, 2
"""How many last tokens must be found again."""
TRIED = 8
REMEMBERED = 64
LONGEST_MEMORY = 512
POOR, RECOVERY = 0.2, 0.02

NOTHING: Tokens = np.zeros(0, np.int32)


class Drafter:
    """Drafts of up to ``most`` tokens for all answers of a step together.

    Args:
        most: 0: there are none.
        model: guesses where nothing was found.
    """

    def __init__(self, most: int, model: DraftModel | None = None) -> None:
        self.most, self._model = most, model
        self._answers: OrderedDict[Hashable, Tokens] = OrderedDict()

    def drafts(self, answering: list[Sequence]) -> dict[Sequence, Tokens]:
        """What may follow the last token of each sequence; often nothing."""
        each = self.most // len(answering) if answering else 0
        found: dict[Sequence, Tokens] = {}
        asked: dict[Sequence, int] = {}
        for sequence in answering:
            size = self._size(sequence, each)
            guess = self._found(sequence, size) if size else NOTHING
            if len(guess):
                found[sequence] = guess
            elif size:
                asked[sequence] = size
        return found | self._model.guess(asked) if self._model is not None and asked else found

    def _size(self, sequence: Sequence, room: int) -> int:
        """How many guesses are worth while."""
        room = min(room, sequence.limit - sequence.count - 1, sequence.capacity - sequence.n_past - 1)
        if sequence.draft_rate < POOR:
            sequence.draft_rate += RECOVERY
            return 0
        return max(min(room, int(np.ceil(self.most * sequence.draft_rate))), 0)

    def _found(self, sequence: Sequence, size: int) -> Tokens:
        """What followed the same tokens before."""
        own = sequence.tokens[: sequence.n_past + 1]
        found = continuation(own, own, size)
        before = self._answers.get(_kind(sequence.request.ask))
        if not len(found) and before is not None:
            found = continuation(before, own, size)
        return found

    def told(self, sequence: Sequence, drafted: int, accepted: int) -> None:
        """Learn how good the drafts for ``sequence`` are."""
        sequence.draft_rate = 0.7 * sequence.draft_rate + 0.3 * accepted / drafted

    def remember(self, sequence: Sequence) -> None:
        """Keep a finished answer for those of its kind."""
        kind = _kind(sequence.request.ask)
        if not self.most or kind is None:
            return
        begin = max(sequence.n_prompt - LONGEST, 0)
        self._answers[kind] = sequence.tokens[begin : sequence.n_past][:LONGEST_MEMORY].copy()
        self._answers.move_to_end(kind)
        while len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)


def continuation(text: Tokens, end: Tokens, size: int) -> Tokens:
    """Up to ``size`` tokens that follow in ``text`` where the last tokens of ``end`` occur for the last time."""
    for length in range(min(LONGEST, len(end)), SHORTEST - 1, -1):
        tail = end[len(end) - length :]
        places = np.flatnonzero(text[length - 1 : -1] == tail[-1])
        for place in places[::-1][:TRIED].tolist():
            if np.array_equal(text[place : place + length], tail):
                return text[place + length : place + length + size]
    return NOTHING


def _kind(ask: Ask) -> Hashable:
    """Answers of one kind look alike; None: free text."""
    if not (ask.forced or ask.answer_schema or ask.tools_callable):
        return None
    return ask.forced, ask.answer_schema, tuple(tool["function"]["name"] for tool in ask.tools)
