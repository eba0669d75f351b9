"""What the next decode computes: one token of every running answer, and a slice of the prompts not yet complete."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field

from chainops.engines.llama.batch import Tokens
from chainops.engines.llama.drafting import NOTHING, Drafter
from chainops.engines.llama.native import Native
from chainops.engines.llama.sequence import Sequence

__all__ = ["Planner", "Row", "Work"]

PROMPT_SECONDS = 0.4
"""While answers are generated, a step computes about so many seconds' worth of prompt."""
LEAST_SLICE = 32
ALONE = 48
"""Where cells are apart, prompts of at least so many tokens are computed one by one: see :class:`Planner`."""


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
    there they are computed one after the other. So are long prompts on a processor, whole ones rather than ends and
    beginnings: what is cut off where another one ends would be computed in rows too few to pay. A GPU takes them
    together.
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
        """Fill the batch, once or more often; each time it must be computed before the next."""
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
        budget = self._slice(len(prompting) / len(answering)) if answering else options.n_batch
        if options.unified:
            self._add_prompts(work, self._cut(prompting, budget))
        else:
            for group in self._groups(prompting, budget):
                if work.parts:
                    yield work
                    batch.clear()
                    work = Work()
                self._add_prompts(work, group)
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

    def _cut(self, prompting: list[Sequence], budget: int) -> dict[Sequence, int]:
        """Who computes how many tokens. Those that came first are complete first."""
        chosen: dict[Sequence, int] = {}
        for sequence in prompting:
            if budget <= 0:
                break
            chosen[sequence] = min(sequence.n_prompt - sequence.n_past, budget)
            budget -= chosen[sequence]
        return chosen

    def _groups(self, prompting: list[Sequence], budget: int) -> Iterator[dict[Sequence, int]]:
        """The same in one batch after the other. No prompt is cut that fits into a step of its own."""
        short: dict[Sequence, int] = {}
        left, together, most = budget, self._native.options.n_gpu_layers != 0, self._native.options.n_batch
        for sequence in prompting:
            count = sequence.n_prompt - sequence.n_past
            if left <= 0 or (left < count <= budget and 2 * left < count):
                break
            count = left if count > budget else count
            left -= count
            if count >= ALONE and not together:
                yield {sequence: count}
                continue
            if sum(short.values()) + count > most:
                yield short
                short = {}
            short[sequence] = count
        if short:
            yield short

    def _add_prompts(self, work: Work, chosen: dict[Sequence, int]) -> None:
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
