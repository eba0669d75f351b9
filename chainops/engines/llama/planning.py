"""What the next decode computes: one token of every running answer, and a slice of the prompts not yet complete."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field

from chainops.engines.llama.batch import Tokens
from chainops.engines.llama.drafting import NOTHING, Drafter
from chainops.engines.llama.native import Native
from chainops.engines.llama.sequence import Sequence

__all__ = ["Planner", "Row", "Work"]

PROMPT_SECONDS = 0.1
"""While answers are generated, a step computes about so many seconds' worth of prompt."""
LEAST_SLICE = 32


@dataclass(slots=True)
class Row:
    """Logits that were asked for.

    Args:
        sequence: whose.
        row: where in the batch.
        output: the how manyth of the wanted rows.
        draft: tokens that may follow, each in a row of its own after this one.
    """

    sequence: Sequence
    row: int
    output: int
    draft: Tokens


@dataclass(slots=True)
class Work:
    """One batch.

    Args:
        parts: how many tokens of whom; drafts not counted.
        rows: whose logits are in which row, in the order of rows.
        prompt_tokens: how many of the tokens belong to prompts.
    """

    parts: list[tuple[Sequence, int]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    prompt_tokens: int = 0


class Planner:
    """Fills the batch of a context.

    Where cells are unified, answers and prompts are computed in one batch, which reads the weights once. Where every
    sequence has cells of its own, llama.cpp cuts a batch into pieces in which all sequences have equally many tokens:
    there they are computed one after the other.
    """

    def __init__(self, native: Native, drafter: Drafter) -> None:
        self._native = native
        self.drafter = drafter
        self._token_s = 0.0  # measured seconds per token of a prompt
        self._last: Hashable = None

    def turn(self, running: list[Sequence]) -> list[Sequence]:
        """Those of ``running`` whose adapters have their turn: never two sets of adapters in one batch."""
        keys = list(dict.fromkeys(sequence.adapted.key for sequence in running))
        if len(keys) < 2:
            return list(running)
        place = keys.index(self._last) + 1 if self._last in keys else 0
        self._last = keys[place % len(keys)]
        return [sequence for sequence in running if sequence.adapted.key == self._last]

    def fill(self, running: list[Sequence]) -> Iterator[Work]:
        """Fill the batch, once or twice; each time it must be computed before the next."""
        batch, options = self._native.batch, self._native.options
        batch.clear()
        work = Work()
        answering = [sequence for sequence in running if sequence.n_past >= sequence.n_prompt]
        prompting = [sequence for sequence in running if sequence.n_past < sequence.n_prompt and not sequence.leader]
        drafts = self.drafter.drafts(answering) if self._native.can_share else {}
        for sequence in self._ordered(answering):
            place, output = sequence.n_past, batch.outputs
            row = batch.add_one(int(sequence.tokens[place]), place, sequence.id)
            draft = drafts.get(sequence, NOTHING)
            if len(draft):
                batch.add_all(draft, place + 1, sequence.id)
            work.rows.append(Row(sequence, row, output, draft))
            work.parts.append((sequence, 1))
        if work.rows and prompting and not options.unified:
            yield work
            batch.clear()
            work = Work()
        self._add_prompts(
            work, prompting, self._slice(len(prompting) / len(answering)) if answering else options.n_batch
        )
        if work.parts:
            yield work

    def measured(self, work: Work, seconds: float) -> None:
        """Learn from how long ``work`` took."""
        if work.prompt_tokens >= LEAST_SLICE:
            each = seconds / self._native.batch.count
            self._token_s = 0.7 * self._token_s + 0.3 * each if self._token_s else each

    def _ordered(self, sequences: Iterable[Sequence]) -> list[Sequence]:
        """In the order of their numbers: only neighbours are computed together where cells are apart."""
        return sorted(sequences, key=lambda sequence: sequence.id)

    def _add_prompts(self, work: Work, prompting: list[Sequence], budget: int) -> None:
        chosen: dict[Sequence, int] = {}
        for sequence in prompting:  # those that came first are complete first
            if budget <= 0:
                break
            chosen[sequence] = min(sequence.n_prompt - sequence.n_past, budget)
            budget -= chosen[sequence]
        for sequence in self._ordered(chosen):
            place, count = sequence.n_past, chosen[sequence]
            last = place + count == sequence.n_prompt
            output = self._native.batch.outputs
            row = self._native.batch.add(sequence.tokens[place : place + count], place, sequence.id, last=last)
            work.parts.append((sequence, count))
            work.prompt_tokens += count
            if last:
                work.rows.append(Row(sequence, row, output, NOTHING))

    def _slice(self, crowd: float) -> int:
        """Tokens of prompt that may be computed next to running answers. ``crowd``: prompts for each answer."""
        most = self._native.options.n_batch
        seconds = PROMPT_SECONDS * min(max(crowd, 1.0), 2.0)
        fitting = int(seconds / self._token_s) if self._token_s else most // 4
        return max(min(fitting, most), min(LEAST_SLICE, most))
