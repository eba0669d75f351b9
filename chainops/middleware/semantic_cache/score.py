"""How sure it is that a known answer fits: how near its question is, how far the nearest with another answer, how many
around agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["AGREED", "ALIKE", "NEIGHBOURS", "Candidate", "agreeing", "combined"]

NEIGHBOURS = 10
"""Known questions that are looked at."""

ALIKE = 0.9
"""Answers whose vectors have at least this cosine say the same."""

VOTE = 0.05

AGREED = 9
"""So many of the ten nearest with one answer overrule a soft reason of the guards."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A known question near the one asked, with the vector of its answer (length 1)."""

    number: int
    cosine: float
    answer_vector: Any


def agreeing(near: Sequence[Candidate]) -> list[bool]:
    """Which of the candidates have the answer of the first."""
    first = near[0].answer_vector
    return [float(candidate.answer_vector @ first) >= ALIKE for candidate in near]


def combined(cosines: Sequence[float], agree: Sequence[bool]) -> float:
    """The score of answering with the first of the nearest: its cosine + margin + 0.05 per neighbour that agrees.

    Margin: its cosine less that of the nearest with another answer; less that of the last one where all ten agree; 0
    where fewer than ten are known and all agree. Between about 0 and 2.5.

    Args:
        cosines: of the ten nearest at most, the nearest first.
        agree: whether their answers say what the first one's says.
    """
    others = [cosine for cosine, same in zip(cosines, agree, strict=True) if not same]
    if not others and len(cosines) >= NEIGHBOURS:
        others = [cosines[-1]]
    margin = cosines[0] - max(others) if others else 0.0
    return cosines[0] + margin + VOTE * sum(agree)
