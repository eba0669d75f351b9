"""What is ranked together: paragraphs, and of long ones the parts that the question is about."""

from __future__ import annotations

from collections.abc import Sequence

from chainops.lexical.rank import bm25
from chainops.middleware.compress.units import Unit

__all__ = ["blocks_of"]

WINDOW = 6
"""Units that are ranked together, at most; headings are not counted."""
GRAIN = 20
"""Steps from nothing to the best fit; parts within one step fit alike."""


def blocks_of(units: Sequence[Unit], words: Sequence[Sequence[str]], asked: Sequence[str]) -> list[list[int]]:
    """Places of the units of each block, in order of the text.

    A long paragraph is cut where the question wants it: the part of ``WINDOW`` units that fits best is a block, then
    the best of what is left, and so on. Cut at fixed places, an answer and what it is about would often be parted.
    """
    paragraphs: dict[int, list[int]] = {}
    for place, unit in enumerate(units):
        paragraphs.setdefault(unit.paragraph, []).append(place)
    windows: list[list[int]] = []
    found: list[list[int]] = []
    for places in paragraphs.values():
        if sum(not units[place].head for place in places) <= WINDOW:
            found.append(places)
        else:
            windows += [places[i : i + WINDOW] for i in range(len(places) - WINDOW + 1)]
    if windows:
        texts = [[word for place in window for word in words[place]] for window in windows]
        scores = bm25(asked, texts)
        taken: set[int] = set()
        grain = (max(scores) or 1.0) / GRAIN  # of parts that fit about alike the last: it begins with what fits
        for i in sorted(range(len(windows)), key=lambda i: (-round(scores[i] / grain), -i)):
            free = [place for place in windows[i] if place not in taken]
            if free:
                taken.update(free)
                found.append(free)
    return sorted(found)
