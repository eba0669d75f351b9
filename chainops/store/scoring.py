"""Scores on spans that are stored already."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from chainops.store.reader import Reader, SpanRow
from chainops.store.schema import connect, explain, immediate

__all__ = ["score_runs"]


def score_runs(
    path: str | Path,
    runs: Sequence[int],
    name: str,
    score: Callable[[SpanRow], float | str | None],
    *,
    source: str = "rule",
) -> int:
    """Give every span of ``runs`` (row ids) to ``score`` and store what it says; returns how many scores there are.

    None means no score. What ``name`` and ``source`` said before about these runs is replaced, so that scoring twice is
    scoring once. A scorer that raises stops it, and nothing of that run is stored.
    """
    count = 0
    connection = connect(path)
    try:
        with Reader(path) as reader:
            for run in runs:
                spans = reader.spans(run)
                found = [(span, said) for span in spans if (said := score(span)) is not None]
                rows = [(span.id, run, name, *_split(said), source, "", time.time_ns()) for span, said in found]
                with immediate(connection):
                    connection.execute(
                        "DELETE FROM score WHERE run = ? AND name = ? AND source = ?", (run, name, source)
                    )
                    connection.executemany(
                        "INSERT INTO score (span, run, name, value, label, source, comment, created_ns)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                        rows,
                    )
                count += len(rows)
    except sqlite3.Error as error:
        raise explain(error, path) from error
    finally:
        connection.close()
    return count


def _split(said: float | str) -> tuple[float | None, str | None]:
    return (None, said) if isinstance(said, str) else (float(said), None)
