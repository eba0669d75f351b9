"""Check, back up and compact a trace file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from chainops.errors import StoreError
from chainops.store.file import interrupt_dead
from chainops.store.process import ProcessIdentity, is_gone
from chainops.store.schema import SCHEMA_VERSION, connect, explain, immediate, open_reader

__all__ = ["CheckReport", "Interrupted", "backup", "check", "settle", "vacuum"]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The state of a file.

    Args:
        problems: what SQLite found damaged, and spans without a run; empty when all is well.
        version: of the schema.
        bytes: size of the file, without its write-ahead log.
        runs: number of runs.
        spans: number of spans.
        dropped: spans that writers could not store.
    """

    problems: tuple[str, ...]
    version: int
    bytes: int
    runs: int
    spans: int
    dropped: int


def check(path: str | Path) -> CheckReport:
    """Read the whole file and report. Raises ``StoreError`` when it cannot be opened at all."""
    connection = open_reader(path)
    try:
        problems = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
        problems = [] if problems == ["ok"] else problems
        lost = connection.execute("SELECT count(*) FROM span WHERE run NOT IN (SELECT id FROM run)").fetchone()[0]
        if lost:
            problems.append(f"{lost} spans belong to no run")
        runs, spans, dropped = connection.execute(
            "SELECT (SELECT count(*) FROM run), (SELECT count(*) FROM span),"
            " (SELECT coalesce(sum(dropped), 0) FROM process)"
        ).fetchone()
        return CheckReport(tuple(problems), SCHEMA_VERSION, Path(path).stat().st_size, runs, spans, dropped)
    except sqlite3.OperationalError as error:
        raise explain(error, path) from error
    except sqlite3.DatabaseError as error:  # too damaged to be read to its end
        return CheckReport((str(error),), SCHEMA_VERSION, Path(path).stat().st_size, 0, 0, 0)
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A run that ended with its process. ``pid``: of that process."""

    run_id: str
    graph: str
    thread: str | None
    pid: int


def settle(path: str | Path) -> list[Interrupted]:
    """Mark what dead processes left open as interrupted, so that nobody waits for it; where the file can be written.

    Returns the runs, oldest first. Raises ``StoreError`` when the file cannot be read.
    """
    reader = open_reader(path)
    try:
        rows = reader.execute(
            "SELECT id, pid, host, boot_id, start_ticks FROM process WHERE ended_ns IS NULL"
        ).fetchall()
        dead = {row[0]: row[1] for row in rows if is_gone(ProcessIdentity(*row[1:]))}
        left = [
            Interrupted(row[0], row[1], row[2], dead[row[3]])
            for row in reader.execute("SELECT run_id, graph, thread, process FROM run WHERE status='open' ORDER BY id")
            if row[3] in dead
        ]
    except sqlite3.Error as error:
        raise explain(error, path) from error
    finally:
        reader.close()
    if not dead:
        return []
    try:
        connection = connect(path, busy_ms=500)
        try:
            with immediate(connection):
                interrupt_dead(connection)
        finally:
            connection.close()
    except sqlite3.Error:
        pass  # read-only, or busy: the next one who writes does it
    return left


def backup(
    path: str | Path, target: str | Path, *, force: bool = False, progress: Callable[[int, int], None] | None = None
) -> int:
    """Copy the file while it is being written to (SQLite's backup API); returns the size of the copy in bytes.

    The copy appears under its name only when it is whole. ``progress`` is called with (pages done, all pages).

    Raises:
        StoreError: the file cannot be read, the target exists (``store.exists``) or cannot be written.
    """
    wanted = Path(target)
    if wanted.exists() and not force:
        raise StoreError(f"{wanted} exists already", hint="Give another name, or --force.", code="store.exists")
    source = open_reader(path)
    part = wanted.with_name(wanted.name + ".part")
    try:
        part.unlink(missing_ok=True)
        copy = connect(part)
        try:
            report = None if progress is None else (lambda status, left, total: progress(total - left, total))
            source.backup(copy, pages=2000, progress=report)
            copy.execute("PRAGMA journal_mode=DELETE").fetchall()
        finally:
            copy.close()
        part.replace(wanted)
    except sqlite3.Error as error:
        part.unlink(missing_ok=True)
        raise explain(error, wanted) from error
    except OSError as error:
        raise StoreError(
            f"Cannot write {wanted}: {error.strerror}", hint="Give a path in a folder that exists.", code="store.open"
        ) from error
    finally:
        source.close()
    return wanted.stat().st_size


def vacuum(path: str | Path) -> tuple[int, int]:
    """Give free pages back to the disk and order the rest; returns (bytes before, bytes after).

    Needs as much free disk as the file is large, and waits for writers.
    """
    open_reader(path).close()
    before = Path(path).stat().st_size
    connection = connect(path)
    try:
        connection.execute("INSERT INTO span_search (span_search) VALUES ('optimize')")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as error:
        raise explain(error, path) from error
    finally:
        connection.close()
    return before, Path(path).stat().st_size
