"""Where the tiers begin, from calls that were made and judged."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from chainops.errors import SetupError

__all__ = ["Judged", "Threshold", "calibrate", "read_thresholds", "write_thresholds"]


@dataclass(frozen=True, slots=True)
class Judged:
    """A question's difficulty, and whether the small model's answer to it was good."""

    difficulty: float
    good: bool


@dataclass(frozen=True, slots=True)
class Threshold:
    """Below ``threshold`` the small model answers.

    Args:
        threshold: a difficulty; 0: the small model answers nothing.
        share: of the questions that the small model gets.
        good: share of good answers among them. lower: what it is at least, with ``confidence``.
        small_everywhere: share of good answers if the small model got all questions.
        judged: how many questions were looked at.
    """

    threshold: float
    share: float
    good: float
    lower: float
    small_everywhere: float
    judged: int
    confidence: float


def calibrate(judged: Sequence[Judged], *, quality: float = 0.95, confidence: float = 0.95) -> Threshold:
    """The largest threshold at which the small model's answers are good often enough.

    Often enough: the lower end of the one-sided Wilson interval (Wilson 1927) of the share of good answers below the
    threshold is at least ``quality``. Quality and confidence are shares. Looking at many thresholds and taking the best
    makes the interval a little too kind; check with calls that were not used here.

    Raises:
        SetupError: code ``setup.route``, when nothing was judged.
    """
    if not judged:
        raise SetupError(
            "No call was judged, so nothing can be calibrated",
            hint="Score answers of the small model (feedback, or a shadow run), or give --labels FILE.",
            code="setup.route",
        )
    z = _quantile(confidence)
    ordered = sorted(judged, key=lambda j: j.difficulty)
    best, good = (0, 0), 0
    for i, one in enumerate(ordered, 1):
        good += one.good
        last_of_its_kind = i == len(ordered) or ordered[i].difficulty > one.difficulty
        if last_of_its_kind and _wilson_lower(good, i, z) >= quality:
            best = (i, good)
    count, good = best
    total = len(ordered)
    if count == 0:
        threshold = 0.0
    elif count == total:
        threshold = 1.0
    else:
        threshold = (ordered[count - 1].difficulty + ordered[count].difficulty) / 2
    return Threshold(
        threshold=threshold,
        share=count / total,
        good=good / count if count else 0.0,
        lower=_wilson_lower(good, count, z) if count else 0.0,
        small_everywhere=sum(j.good for j in ordered) / total,
        judged=total,
        confidence=confidence,
    )


def write_thresholds(path: Path, alias: str, found: Threshold) -> None:
    """Keep the threshold of ``alias``; those of others stay."""
    known: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    known[alias] = asdict(found)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", "utf-8")
    new.replace(path)


def read_thresholds(path: Path) -> dict[str, tuple[float, ...]]:
    """By alias. Raises ``SetupError`` (``setup.route``) where the file is missing or none."""
    try:
        known = json.loads(path.read_text("utf-8"))
        return {alias: (float(found["threshold"]),) for alias, found in known.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(
            f"{path} does not hold thresholds: {error}",
            hint="Make it with `chainops route calibrate`, or take [route].thresholds out.",
            code="setup.route",
        ) from error


def _wilson_lower(good: int, count: int, z: float) -> float:
    share = good / count
    middle = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (middle - spread) / (1 + z * z / count)


def _quantile(confidence: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(confidence)
