"""Delete old runs: by age, by size of the file, in slices that hold no writer up for long."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chainops.errors import SetupError
from chainops.store.schema import connect, explain, immediate, open_reader
from chainops.store.search import compact_index, unindex_run

__all__ = ["PruneReport", "prune"]


@dataclass(frozen=True, slots=True)
class PruneReport:
    """What was deleted, or with ``dry_run`` would be.

    Args:
        runs: number of runs.
        spans: number of spans in them.
        bytes_before: bytes in use in the file before.
        bytes_after: bytes in use after; with ``dry_run`` an estimate by the share of spans.
    """

    runs: int
    spans: int
    bytes_before: int
    bytes_after: int


def prune(
    path: str | Path,
    *,
    days: float | None = None,
    max_bytes: int | None = None,
    dry_run: bool = False,
    slice_runs: int = 100,
    progress: Callable[[int], None] | None = None,
) -> PruneReport:
    """Delete runs that began more than ``days`` ago, then the oldest until at most ``max_bytes`` are in use.

    Runs that are still open stay. Payloads that no span refers to any more go too, and freed pages go back to the
    disk. ``progress`` is called with the number of runs deleted so far.

    Raises:
        StoreError: the file cannot be read or written.
        SetupError: neither ``days`` nor ``max_bytes`` is given, or one is negative.
    """
    if days is None and max_bytes is None:
        raise SetupError("Nothing says what to delete", hint="Give days, bytes, or both.", code="setup.prune")
    if (days or 0) < 0 or (max_bytes or 0) < 0:
        raise SetupError(f"days={days}, bytes={max_bytes}: negative", hint="Give 0 or more.", code="setup.prune")
    open_reader(path).close()
    connection = connect(path)
    try:
        return _prune(connection, days, max_bytes, dry_run, slice_runs, progress)
    except sqlite3.Error as error:
        raise explain(error, path) from error
    finally:
        connection.close()


def _prune(
    connection: sqlite3.Connection,
    days: float | None,
    max_bytes: int | None,
    dry_run: bool,
    slice_runs: int,
    progress: Callable[[int], None] | None,
) -> PruneReport:
    before = _used(connection)
    cutoff = None if days is None else time.time_ns() - int(days * 86_400e9)
    total_spans = connection.execute("SELECT coalesce(sum(spans), 0) FROM run").fetchone()[0]
    runs = spans = last = 0
    used = float(before)
    while True:
        rows = _next_slice(connection, last, slice_runs)
        chosen: list[int] = []
        for run, start_ns, count in rows:
            too_old = cutoff is not None and start_ns < cutoff
            too_much = max_bytes is not None and used > max_bytes
            last = run
            if too_old or too_much:
                chosen.append(run)
                spans += count
                used -= before * count / max(1, total_spans)
        if chosen:
            runs += len(chosen)
            if not dry_run:
                _delete(connection, chosen)
                used = _used(connection)
                if progress is not None:
                    progress(runs)
        if not rows:
            break
    if not dry_run:
        if runs:
            compact_index(connection)
            _give_back(connection)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        used = _used(connection)
    return PruneReport(runs, spans, before, max(0, int(used)))


def _next_slice(connection: sqlite3.Connection, after: int, count: int) -> list[tuple[int, int, int]]:
    sql = "SELECT id, start_ns, spans FROM run WHERE id > ? AND status <> 'open' ORDER BY id LIMIT ?"
    return connection.execute(sql, (after, count)).fetchall()


def _used(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _delete(connection: sqlite3.Connection, runs: list[int]) -> None:
    with immediate(connection):
        for run in runs:
            unindex_run(connection, run)
            payloads = connection.execute(
                "SELECT input_payload FROM span WHERE run = ? AND input_payload IS NOT NULL"
                " UNION SELECT output_payload FROM span WHERE run = ? AND output_payload IS NOT NULL",
                (run, run),
            ).fetchall()
            connection.execute("DELETE FROM score WHERE run = ?", (run,))
            connection.execute("DELETE FROM span WHERE run = ?", (run,))
            connection.execute("DELETE FROM run WHERE id = ?", (run,))
            connection.executemany(
                "DELETE FROM payload WHERE id = ?1"
                " AND NOT EXISTS (SELECT 1 FROM span WHERE input_payload = ?1 AND input_payload IS NOT NULL)"
                " AND NOT EXISTS (SELECT 1 FROM span WHERE output_payload = ?1 AND output_payload IS NOT NULL)",
                payloads,
            )
    _give_back(connection)


def _give_back(connection: sqlite3.Connection) -> None:
    # It frees one page per step, and `execute` steps a statement without columns only once.
    connection.executescript("PRAGMA incremental_vacuum")
