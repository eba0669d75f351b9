"""The writer's hold on its file: made when it is missing, claimed for this process, watched for deletion."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from chainops.store.migrate import prepare
from chainops.store.process import ProcessIdentity, is_gone, this_process
from chainops.store.schema import connect, immediate

__all__ = ["TraceFile", "interrupt_dead"]


class TraceFile:
    """An open trace file with a row for this process in it. For one thread.

    ``generation`` counts the openings; it grows when the file was deleted or replaced, and made again.
    """

    def __init__(self, path: Path, busy_ms: int, max_pages: int | None) -> None:
        self.path = path
        self.busy_ms = busy_ms
        self.max_pages = max_pages
        self.generation = 0
        self.process = 0
        self._connection: sqlite3.Connection | None = None
        self._inode = (0, 0)

    def ensure(self) -> sqlite3.Connection:
        """The connection; opened, or opened again, where necessary. Raises ``sqlite3.Error`` or ``StoreError``."""
        if self._connection is not None:
            try:
                stat = self.path.stat()
                if (stat.st_dev, stat.st_ino) == self._inode:
                    return self._connection
            except FileNotFoundError:
                pass
            self._connection.close()
            self._connection = None
        connection = connect(self.path, busy_ms=self.busy_ms)
        try:
            prepare(connection, self.path)
            if self.max_pages is not None:
                connection.execute(f"PRAGMA max_page_count={int(self.max_pages)}")
            with immediate(connection):
                interrupt_dead(connection)
                me = this_process()
                # Never the id of an earlier opening, or spans would keep ids that mean others in a file made anew.
                self.process = connection.execute(
                    "INSERT INTO process (id, pid, host, boot_id, start_ticks, started_ns, dropped) VALUES "
                    "(max(?, 1 + coalesce((SELECT seq FROM sqlite_sequence WHERE name='process'), 0)),"
                    " ?, ?, ?, ?, ?, 0) RETURNING id",
                    (self.process + 1, me.pid, me.host, me.boot_id, me.start_ticks, time.time_ns()),
                ).fetchone()[0]
            stat = self.path.stat()
        except BaseException:
            connection.close()
            raise
        self._inode = (stat.st_dev, stat.st_ino)
        self._connection = connection
        self.generation += 1
        return connection

    def close(self, dropped: int) -> None:
        """Mark the end of this process in the file, as far as that is possible, and close it."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            with immediate(connection):
                _interrupt(connection, self.process)
                connection.execute(
                    "UPDATE process SET ended_ns=?, dropped=? WHERE id=?", (time.time_ns(), dropped, self.process)
                )
        except sqlite3.Error:
            pass  # the next process to open the file finds this one gone
        finally:
            connection.close()


def interrupt_dead(connection: sqlite3.Connection) -> int:
    """Mark what dead processes left open as ``interrupted``. Returns the number of such processes."""
    rows = connection.execute(
        "SELECT id, pid, host, boot_id, start_ticks FROM process WHERE ended_ns IS NULL"
    ).fetchall()
    dead = [row[0] for row in rows if is_gone(ProcessIdentity(*row[1:]))]
    for process in dead:
        _interrupt(connection, process)
        connection.execute("UPDATE process SET ended_ns=? WHERE id=?", (time.time_ns(), process))
    return len(dead)


def _interrupt(connection: sqlite3.Connection, process: int) -> None:
    first, after = process << 32, (process + 1) << 32
    # Their text is final now: a run that ended before them must be indexed once more.
    connection.execute(
        "UPDATE run SET searched=0 WHERE id IN (SELECT run FROM span WHERE status='open' AND id >= ? AND id < ?)",
        (first, after),
    )
    connection.execute(
        "UPDATE span SET status='interrupted' WHERE status='open' AND id >= ? AND id < ?", (first, after)
    )
    connection.execute("UPDATE run SET status='interrupted' WHERE status='open' AND process=?", (process,))
