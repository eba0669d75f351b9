"""How often each rail let a text pass and how often not, over time, from the scores of a trace file."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from chainops.store.schema import explain, open_reader

__all__ = ["Verdicts", "verdicts"]

_DAY, _HOUR = 86_400_000_000_000, 3_600_000_000_000
_COUNTS = (
    "SELECT substr(c.name, 6), c.created_ns / ?1, coalesce(c.label, ''),"
    " CASE WHEN json_valid(s.attributes) THEN json_extract(s.attributes, '$.remembered') END, count(*)"
    " FROM score c JOIN span s ON s.id = c.span"
    " WHERE c.name >= 'rail.' AND c.name < 'rail/' AND c.source = 'rule' AND c.created_ns >= ?2 GROUP BY 1, 2, 3, 4"
)


@dataclass(slots=True)
class Verdicts:
    """What one rail said in one period.

    Args:
        since: the period's begin in UTC, ISO 8601.
        counts: verdicts by label: ``allow``, or what was done (``monitor``, ``flag``, ``redact``, ``ask``, ``block``).
        remembered: of these, how many were known from an earlier text that was the same.
    """

    rail: str
    since: str
    counts: Counter[str] = field(default_factory=Counter)
    remembered: int = 0

    @property
    def total(self) -> int:
        """All verdicts."""
        return sum(self.counts.values())


def verdicts(path: str | Path, *, by: Literal["day", "hour"] = "day", since_ns: int = 0) -> list[Verdicts]:
    """The verdicts of each rail in each period of UTC, oldest period first.

    Raises:
        StoreError: the file cannot be read.
    """
    step = _DAY if by == "day" else _HOUR
    connection = open_reader(path)
    try:
        rows = connection.execute(_COUNTS, (step, since_ns)).fetchall()
    except sqlite3.Error as error:
        raise explain(error, path) from error
    finally:
        connection.close()
    found: dict[tuple[int, str], Verdicts] = {}
    for rail, period, label, remembered, number in rows:
        begin = datetime.fromtimestamp(period * step / 1e9, UTC)
        here = found.setdefault(
            (period, rail), Verdicts(rail, begin.strftime("%Y-%m-%d" if by == "day" else "%Y-%m-%dT%H:00Z"))
        )
        here.counts[label] += number
        here.remembered += number if remembered else 0
    return [found[key] for key in sorted(found)]
