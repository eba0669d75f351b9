"""Retention and speed of methods, in one table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from chainops.middleware.compress.bench.methods import Method
from chainops.middleware.compress.bench.questions import Question

__all__ = ["Row", "measure"]


@dataclass(frozen=True, slots=True)
class Row:
    """What one method did at one budget.

    Args:
        method: its name.
        budget: share of the tokens that it was given.
        sentence: share of questions of which a sentence with the answer is left, word for word.
        answer: share of questions whose answer is left.
        kept: tokens that were left, as a share of those that came; never above the budget for our methods.
        tokens_per_s: of what came, in CPU time, counting included.
    """

    method: str
    budget: float
    sentence: float
    answer: float
    kept: float
    tokens_per_s: float


async def measure(
    questions: Sequence[Question], methods: Mapping[str, Method], budgets: Sequence[float], count: Callable[[str], int]
) -> list[Row]:
    """Every method at every budget. Counts of whole contexts are made before and not measured."""
    sizes = [count(question.context) for question in questions]
    return [
        await _row(name, method, budget, list(zip(questions, sizes, strict=True)), count)
        for budget in budgets
        for name, method in methods.items()
    ]


async def _row(
    name: str, method: Method, budget: float, work: Sequence[tuple[Question, int]], count: Callable[[str], int]
) -> Row:
    sentences = answers = kept = 0
    spent = 0.0
    for question, size in work:
        started = time.process_time()
        text = await method(question, int(size * budget), count)
        spent += time.process_time() - started
        flat = " ".join(text.split())
        sentences += any(" ".join(s.split()) in flat for s in question.sentences())
        answers += question.answer.lower() in text.lower()
        kept += count(text)
    total = sum(size for _, size in work)
    return Row(name, budget, sentences / len(work), answers / len(work), kept / total, total / max(spent, 1e-9))


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """The table, for people."""
    yield f"{'kept':>5} {'method':14} {'sentence':>9} {'answer':>7} {'tokens/s':>10}"
    for row in rows:
        yield f"{row.budget:5.0%} {row.method:14} {row.sentence:9.3f} {row.answer:7.3f} {row.tokens_per_s:10,.0f}"
