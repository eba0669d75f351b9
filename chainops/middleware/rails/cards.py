"""What was measured of the learned rails, from the cards in their weights."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chainops.errors import SetupError
from chainops.middleware.rails.jailbreak.head import WEIGHTS

__all__ = ["RAILS", "error_rates"]

RAILS: Mapping[str, str] = {"toxicity": "toxicity", "jailbreak": "jailbreak", "indirect_injection": "indirect"}
"""The learned rails and their files of weights."""

ABOUT = {
    "toxicity": "A stand-in for want of a classifier: English words, kept as hashes, and a linear head.",
    "jailbreak": "A small network on windows of the text. Texts of the kind 'hard' are harmless and look like attacks.",
    "indirect_injection": "A small network on sentences of tool results and documents.",
}


def error_rates(rail: str, file: Path | None = None) -> dict[str, Any]:
    """How often a rail was right and wrong about texts that its weights were not made from.

    Args:
        rail: a name in ``RAILS``.
        file: weights of your own; None: those of the package.

    Returns:
        ``about``, ``thresholds``, ``sources`` (set, origin, licence), and ``rows``: ``set``, ``kind`` (attack,
        ordinary, hard, or "" where the set's name says it), ``what`` (flagged, blocked ...), ``texts``, ``rate``,
        ``low``, ``high`` (Wilson interval, 95 %).

    Raises:
        SetupError: no such rail, or a file without a card (``setup.rail``).
    """
    import numpy as np

    if rail not in RAILS:
        raise SetupError(f"{rail!r} has no weights", hint=f"Learned rails: {', '.join(RAILS)}.", code="setup.rail")
    path = file or WEIGHTS / f"{RAILS[rail]}.npz"
    try:
        with np.load(path, allow_pickle=False) as data:
            card = json.loads(str(data["card"]))
        rows = [row for name, found in card["measured"].items() for row in _rows(name, found)]
    except (OSError, KeyError, ValueError) as error:
        raise SetupError(
            f"{path} has no card of a rail: {error}",
            hint="Make weights with the scripts in recipes/rails_head.",
            code="setup.rail",
        ) from None
    rows.sort(key=lambda row: ("attack", "ordinary", "hard", "").index(row["kind"]))
    return {"about": ABOUT[rail], "thresholds": card["thresholds"], "sources": card["sources"], "rows": rows}


def _rows(name: str, found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if "rate" in found:
        text, _, what = name.replace(": ", ", ").rpartition(", ")
        if text.endswith(", head"):
            text, what = text.removesuffix(", head"), f"head, {what}"
        low, high = found["interval"]
        yield {"set": text, "kind": "", "what": what, "texts": found["texts"], "rate": found["rate"]} | _between(
            low, high
        )
        return
    kind = "attack" if found["attack"] else "ordinary" if found["ordinary"] else "hard"
    for what in ("flagged", "blocked"):
        row = {"set": name, "kind": kind, "what": what, "texts": found["texts"], "rate": found[what]}
        yield row | _between(*found[f"{what}_interval"])


def _between(low: float, high: float) -> dict[str, float]:
    return {"low": low, "high": high}
