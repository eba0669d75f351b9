"""What a detector reports, and what is left when reports overlap."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple, Protocol

__all__ = ["Detector", "Finding", "resolve"]


class Finding(NamedTuple):
    """A piece of text that is personal or secret: ``text[start:end]``.

    ``score`` is how sure the detector is, 0 to 1: 1.0 means that a checksum or an unmistakable prefix agrees.
    """

    start: int
    end: int
    kind: str
    score: float


class Detector(Protocol):
    """Finds personal data in a text. Must be safe to call from several threads at once."""

    def find(self, text: str, field: str = "") -> Iterable[Finding]:
        """All findings, in any order; they may overlap. ``field`` is the name of the field that holds the text."""


def resolve(findings: Iterable[Finding]) -> list[Finding]:
    """Findings that do not overlap, in order of their place.

    Sure ones (score 1.0) win, then longer ones, then higher scores. Of a finding that is only partly covered the rest
    stays, so that no overlap leaves a part of a value uncovered.

    >>> resolve([Finding(0, 9, "PHONE", 0.8), Finding(4, 12, "CREDIT_CARD", 1.0)])
    [Finding(start=0, end=4, kind='PHONE', score=0.8), Finding(start=4, end=12, kind='CREDIT_CARD', score=1.0)]
    """
    found = sorted(findings)
    if len(found) < 2:
        return found
    kept: list[Finding] = []
    group = [found[0]]
    reach = found[0].end
    for finding in found[1:]:
        if finding.start < reach:
            group.append(finding)
            reach = max(reach, finding.end)
            continue
        kept += group if len(group) == 1 else _share(group)
        group, reach = [finding], finding.end
    return kept + (group if len(group) == 1 else _share(group))


def _share(group: list[Finding]) -> list[Finding]:
    """Findings that overlap, one with the next. Takes ``n log n`` time: a hostile text makes one group of thousands."""
    starts: list[int] = []  # of those kept, in order; they do not overlap
    kept: dict[int, Finding] = {}
    for finding in sorted(group, key=lambda f: (f.score < 1.0, f.start - f.end, -f.score, f.start, f.kind)):
        start, end = finding.start, finding.end
        at = bisect_right(starts, start) - 1
        while 0 <= at < len(starts) and starts[at] <= start < kept[starts[at]].end:
            start = kept[starts[at]].end
            at += 1
        last = bisect_left(starts, end) - 1
        if last >= 0 and end <= kept[starts[last]].end:
            end = starts[last]
        if start >= end:
            continue
        # one that reaches over both ends of a surer one takes its place: the wider cover
        first = after = bisect_left(starts, start)
        while after < len(starts) and kept[starts[after]].end <= end:
            after += 1
        starts[first:after] = [start]
        kept[start] = Finding(start, end, *finding[2:])
    return [kept[start] for start in starts]
