"""Write-ahead logging, switched on by several processes at once."""

from __future__ import annotations

import sqlite3
import time


def use_wal(connection: sqlite3.Connection, patience_s: float = 5.0) -> None:
    """Switch the file to WAL with ``synchronous=NORMAL``; waits up to ``patience_s`` seconds for other processes.

    SQLite's own busy timeout does not cover the switch: of several processes that make the file at once, all but one
    are refused with "database is locked" at once, so it is tried again here.

    Raises:
        sqlite3.OperationalError: the file cannot be written, or stayed locked.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
