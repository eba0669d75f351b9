"""Rates with their intervals."""

from __future__ import annotations

from math import sqrt

__all__ = ["wilson"]


def wilson(hits: int, trials: int, *, z: float = 1.96) -> tuple[float, float]:
    """Confidence interval for a rate, as ``(low, high)`` in [0, 1]; ``(0, 1)`` where there was no trial.

    Holds for small samples and for rates of 0 and 1.

    Source: E. B. Wilson, JASA 22 (1927), 209-212.

    >>> [round(x, 3) for x in wilson(8, 10)]
    [0.49, 0.943]
    """
    if trials == 0:
        return 0.0, 1.0
    rate, widen = hits / trials, 1 + z * z / trials
    half = z * sqrt(rate * (1 - rate) / trials + (z / (2 * trials)) ** 2)
    centre = rate + z * z / (2 * trials)
    return max(0.0, (centre - half) / widen), min(1.0, (centre + half) / widen)
