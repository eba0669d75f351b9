"""Calls that a router sent to a small model, with what was said about their answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import orjson

from chainops.store.reader import Reader

__all__ = ["RoutedCall", "routed_calls"]


@dataclass(frozen=True, slots=True)
class RoutedCall:
    """One call. ``value``: the newest score of its span, or of its run where that routed one call only."""

    difficulty: float
    value: float


def routed_calls(path: str | Path, alias: str, tier: str, score: str) -> list[RoutedCall]:
    """The calls of ``alias`` that ``tier`` answered and that have a number under the name ``score``.

    Raises:
        StoreError: as :class:`~chainops.store.reader.Reader`.
    """
    with Reader(path) as reader:
        rows = reader.connection.execute(
            "SELECT s.id, s.run, s.attributes FROM span s WHERE s.kind = 'model' AND s.attributes LIKE '%\"route\"%'"
        ).fetchall()
        scores = reader.connection.execute(
            "SELECT span, run, value FROM score WHERE name = ? AND value IS NOT NULL ORDER BY id", (score,)
        ).fetchall()
    of_span = {span: value for span, _, value in scores}
    of_run = {run: value for _, run, value in scores}
    routed: dict[int, int] = {}
    for _, run, _ in rows:
        routed[run] = routed.get(run, 0) + 1
    found = []
    for span, run, attributes in rows:
        route = orjson.loads(attributes).get("route") or {}
        value = of_span.get(span, of_run.get(run) if routed[run] == 1 else None)
        if route.get("alias") == alias and route.get("tier") == tier and "difficulty" in route and value is not None:
            found.append(RoutedCall(float(route["difficulty"]), float(value)))
    return found
