"""With which version of its chain a thread goes on. Everything here blocks."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from chainops.store.migrate import prepare
from chainops.store.schema import connect, explain, immediate

__all__ = ["pin_thread", "unpin_thread"]


def pin_thread(path: str | Path, graph: str, thread: str, version: int) -> int:
    """The version that ``thread`` is pinned to: the one that it began with, else ``version`` from now on.

    Of processes that begin a thread at once, one decides for all.

    Raises:
        StoreError: the file cannot be read or written.
    """
    try:
        db = connect(path, busy_ms=30_000)
        try:
            prepare(db, path)
            found = _find(db, graph, thread)
            if found is not None:
                return found
            with immediate(db):
                db.execute(
                    "INSERT OR IGNORE INTO chain_pin (graph, thread, version, created_ns) VALUES (?,?,?,?)",
                    (graph, thread, version, time.time_ns()),
                )
                return _find(db, graph, thread) or version
        finally:
            db.close()
    except sqlite3.Error as error:
        raise explain(error, path) from error


def unpin_thread(path: str | Path, graph: str, thread: str) -> bool:
    """Let ``thread`` go on with what holds now; False where it was not pinned.

    Raises:
        StoreError: the file cannot be read or written.
    """
    try:
        db = connect(path, busy_ms=30_000)
        try:
            prepare(db, path)
            with immediate(db):
                done = db.execute("DELETE FROM chain_pin WHERE graph = ? AND thread = ?", (graph, thread))
                return done.rowcount > 0
        finally:
            db.close()
    except sqlite3.Error as error:
        raise explain(error, path) from error


def _find(db: sqlite3.Connection, graph: str, thread: str) -> int | None:
    row = db.execute("SELECT version FROM chain_pin WHERE graph = ? AND thread = ?", (graph, thread)).fetchone()
    return None if row is None else int(row[0])
