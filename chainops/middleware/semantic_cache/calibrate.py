"""The threshold for a wanted bound on wrong hits, with a confidence, from questions whose right answers are known.

Thresholds are tried from a strict one on, and the last one before the first that fails is taken: fixed sequence
testing, which keeps the confidence for the whole walk (Angelopoulos et al., "Learn then Test", arXiv:2110.01052). There
are four walks from four starts, because the strictest threshold has the fewest hits to show anything; each gets a
quarter of the error that is allowed (Bonferroni). How many hits a threshold has does not depend on which of them are
right. Each test is exact: the upper end of the one-sided binomial interval (C. J. Clopper, E. S. Pearson, Biometrika
26, 1934).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from chainops.errors import SetupError

__all__ = ["Found", "Observation", "find_threshold", "least_hits", "upper_bound"]

STEPS = 40
STARTS = (1, 2, 4, 8)
"""Where walks begin, in multiples of the hits that are needed at least."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A question: the score of the answer that it would have got (None: a guard refused it), and whether it fits."""

    score: float | None
    right: bool


@dataclass(frozen=True, slots=True)
class Found:
    """A threshold; with the confidence asked for, at most ``upper`` of its hits are wrong."""

    threshold: float
    hits: int
    wrong: int
    asked: int
    upper: float


def upper_bound(wrong: int, hits: int, confidence: float = 0.95) -> float:
    """The highest share of wrong hits that ``wrong`` of ``hits`` is still compatible with, one-sided, exact.

    >>> round(upper_bound(0, 299), 4)
    0.01
    """
    if hits == 0 or wrong >= hits:
        return 1.0
    low, high = wrong / hits, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(wrong, hits, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most(wrong: int, hits: int, share: float) -> float:
    """P(X <= wrong) for a binomial X."""
    if share <= 0:
        return 1.0
    if share >= 1:
        return float(wrong >= hits)
    whole = math.lgamma(hits + 1)
    terms = (
        whole - math.lgamma(i + 1) - math.lgamma(hits - i + 1) + i * math.log(share) + (hits - i) * math.log1p(-share)
        for i in range(wrong + 1)
    )
    return math.fsum(map(math.exp, terms))


def least_hits(bound: float, confidence: float) -> int:
    """Hits that are needed, none of them wrong, to show the bound."""
    return math.ceil(math.log(1 - confidence) / math.log(1 - bound))


def find_threshold(seen: Sequence[Observation], bound: float, confidence: float = 0.95) -> Found:
    """The lowest threshold for which the bound is shown.

    Raises:
        SetupError: there is too little data, or even the surest hits are wrong too often (``setup.calibration``).
    """
    scored = sorted((o for o in seen if o.score is not None), key=lambda o: -(o.score or 0.0))
    sure = 1 - (1 - confidence) / len(STARTS)
    needed = least_hits(bound, sure)
    if len(scored) < needed:
        raise SetupError(
            f"{len(scored)} possible hits show nothing about a bound of {bound:.1%}: {needed} are needed",
            hint="Collect more labelled questions or run in shadow mode for longer, or ask for a weaker bound.",
            code="setup.calibration",
        )
    wrong = list(accumulate(not o.right for o in scored))
    walks = [_walk(wrong, needed * start, bound, sure) for start in STARTS]
    hits = max(walks)
    if not hits:
        raise SetupError(
            f"Even the surest of {len(scored)} possible hits are wrong too often for a bound of {bound:.1%}",
            hint="Ask for a weaker bound, or leave the semantic cache off: these questions are too much alike.",
            code="setup.calibration",
        )
    threshold = float(scored[hits - 1].score or 0.0)
    return Found(threshold, hits, wrong[hits - 1], len(seen), upper_bound(wrong[hits - 1], hits, sure))


def _walk(wrong: Sequence[int], start: int, bound: float, confidence: float) -> int:
    """The most hits that the walk from ``start`` shows the bound for; 0 where it fails at once."""
    best, total = 0, len(wrong)
    steps = sorted({min(start, total), *(n for n in (total * i // STEPS for i in range(1, STEPS + 1)) if n > start)})
    for hits in steps if start <= total else ():
        if upper_bound(wrong[hits - 1], hits, confidence) > bound:
            break
        best = hits
    return best
