"""What makes a file a trace file, how it is opened, and which version of the schema this chainops speaks."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chainops.errors import StoreError

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "connect", "explain", "immediate", "open_reader", "read_version"]

APPLICATION_ID = 0x63684F70
"""``PRAGMA application_id`` of a trace file ("chOp")."""

SCHEMA_VERSION = 3
"""``PRAGMA user_version`` that this chainops writes; equals Alembic's head (a test asserts it)."""


def connect(path: str | Path, *, busy_ms: int = 5000) -> sqlite3.Connection:
    """A connection for writing, in autocommit mode: transactions are begun by hand (see :func:`immediate`)."""
    return sqlite3.connect(path, timeout=busy_ms / 1000, isolation_level=None, check_same_thread=False)


@contextmanager
def immediate(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that takes the write lock at once: deferred ones fail when two processes read, then write."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def read_version(connection: sqlite3.Connection, path: str | Path) -> int:
    """Version of the schema: 0 for an empty file.

    Raises:
        StoreError: no database (``store.broken``), another program's (``store.foreign``),
            or from a newer chainops (``store.newer``).
    """
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        application = int(connection.execute("PRAGMA application_id").fetchone()[0])
        tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    except sqlite3.DatabaseError as error:
        raise explain(error, path) from error
    if application != APPLICATION_ID and (tables or version):
        raise StoreError(
            f"{path} is a SQLite database, but no chainops trace file",
            hint="Give another path: --db PATH, or CHAINOPS_TRACE__PATH.",
            code="store.foreign",
        )
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} was written by a newer chainops (schema {version}; this one knows {SCHEMA_VERSION})",
            hint="Upgrade chainops, or use another file: --db PATH.",
            code="store.newer",
        )
    return version


def explain(error: sqlite3.Error, path: str | Path) -> StoreError:
    """The StoreError for what SQLite said about ``path``."""
    text = str(error)
    if isinstance(error, sqlite3.OperationalError):
        if "locked" in text or "busy" in text:
            return StoreError(
                f"{path} is locked by another process", hint="Close it, or try again later.", code="store.locked"
            )
        if "full" in text:
            return StoreError(f"No room to write {path}", hint="Free some disk space.", code="store.full")
        if "readonly" in text:
            return StoreError(
                f"{path} is read-only", hint="Choose a path that can be written to.", code="store.read_only"
            )
        return StoreError(
            f"Cannot open {path}: {text}",
            hint="Choose a path in a folder that exists and can be written to.",
            code="store.open",
        )
    return StoreError(
        f"{path} is damaged, or is no SQLite database: {text}",
        hint="Restore a backup, or move the file away: chainops starts a new one.",
        code="store.broken",
    )


def open_reader(path: str | Path) -> sqlite3.Connection:
    """A read-only connection to an existing trace file of the current version; rows by column name.

    Raises:
        StoreError: as :func:`read_version`; also missing (``store.missing``), empty (``store.empty``)
            or older (``store.older``).
    """
    file = Path(path)
    if not file.is_file():
        raise StoreError(
            f"There is no trace file {path}",
            hint="Run a graph with the trace middleware first, or give its path: --db PATH.",
            code="store.missing",
        )
    uri = file.resolve().as_uri()
    try:
        connection = _connect_read_only(uri)
    except sqlite3.Error as error:
        raise explain(error, path) from error
    try:
        version = read_version(connection, path)
        if version == 0:
            raise StoreError(f"{path} is empty", hint="Run a graph with the trace middleware.", code="store.empty")
        if version < SCHEMA_VERSION:
            raise StoreError(
                f"{path} has schema {version}; this chainops needs {SCHEMA_VERSION}",
                hint=f"chainops db upgrade --db {path}",
                code="store.older",
            )
    except BaseException:
        connection.close()
        raise
    connection.row_factory = sqlite3.Row
    return connection


def _connect_read_only(uri: str) -> sqlite3.Connection:
    """Opened ``mode=ro``; in a folder where no ``-shm`` file can be made, as an immutable file."""
    connection = sqlite3.connect(f"{uri}?mode=ro", uri=True, timeout=5, isolation_level=None)
    try:
        for _ in range(50):  # a file that is being made right now is locked for a moment
            try:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                return connection
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    raise
                time.sleep(0.02)
        return connection
    except sqlite3.OperationalError as error:
        connection.close()
        if "unable to open" not in str(error) and "readonly" not in str(error):
            raise
        return sqlite3.connect(f"{uri}?mode=ro&immutable=1", uri=True, isolation_level=None)
    except BaseException:
        connection.close()
        raise
