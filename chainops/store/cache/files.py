"""The store on disk: diskcache, with tags, leases and counters in the same SQLite file. For several processes.

That others have invalidated something shows in eight bytes of a memory-mapped file: reading them costs 0.1 us, so every
look into the LRU does.
"""

from __future__ import annotations

import mmap
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import diskcache

from chainops.errors import StoreError
from chainops.store.cache.protocol import EVERYTHING, Pending, Tally
from chainops.store.cache.safe import SafeDisk, owned_directory

__all__ = ["FileStore"]

T = TypeVar("T")
NOTES = 1000
LOCK_S = 10
RECHECK_S = 1.0
FORGET_S = 7 * 86_400
"""No call takes longer: what was invalidated before that cannot be overtaken any more."""
TABLES = (
    "CREATE TABLE IF NOT EXISTS chainops_tag (tag TEXT, key TEXT, PRIMARY KEY (tag, key)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS chainops_tag_key ON chainops_tag (key)",
    "CREATE TABLE IF NOT EXISTS chainops_invalidated (tag TEXT PRIMARY KEY, seq INTEGER, at REAL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS chainops_lease (key TEXT PRIMARY KEY, owner TEXT, until REAL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS chainops_tally"
    " (hour INTEGER, kind TEXT, what TEXT, n REAL, PRIMARY KEY (hour, kind, what)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS chainops_note (id INTEGER PRIMARY KEY, key TEXT, data BLOB)",
    # diskcache deletes entries by itself when the cache is full; their tags go with them
    "CREATE TRIGGER IF NOT EXISTS chainops_untag AFTER DELETE ON Cache BEGIN"
    " DELETE FROM chainops_tag WHERE key = OLD.key; END",
)


class _Safe(diskcache.Cache):  # type: ignore[misc]
    """diskcache, and more statements in its transactions."""

    def within(self, work: Callable[[Callable[..., Any]], T]) -> T:
        """``work(execute)`` in one transaction that holds the write lock from the beginning.

        Raises ``Timeout`` when the lock is not there in time, or the file is not. (With ``retry=True`` diskcache tries
        for ever, on a disk that is gone too.)
        """
        try:
            with self.transact():
                return work(self._sql)
        except (sqlite3.Error, diskcache.Timeout) as error:
            raise _broken(self.directory, error) from None

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._sql(sql, values).fetchall()  # type: ignore[no-any-return]
        except sqlite3.Error as error:
            raise _broken(self.directory, error) from None


def _broken(directory: Any, error: Exception) -> StoreError:
    return StoreError(
        f"The cache in {directory} cannot be used: {error or type(error).__name__}",
        hint="Delete the directory; a cache holds nothing that cannot be made again.",
        code="cache.file",
    )


class FileStore:
    """A :class:`~chainops.store.cache.protocol.CacheStore` in a directory that only its owner can enter.

    Args:
        directory: made with mode 0700 where it is missing.
        size_limit: bytes; beyond it, the entries stored first go first.

    Raises:
        StoreError: code ``cache.directory`` or ``cache.file``; the latter from all methods.
    """

    shared = True

    def __init__(self, directory: str | Path, *, size_limit: int = 2**30) -> None:
        self.directory = owned_directory(Path(directory))
        try:
            self._cache = _Safe(
                str(self.directory.absolute()),
                timeout=LOCK_S,
                disk=SafeDisk,
                size_limit=size_limit,
                eviction_policy="least-recently-stored",
                statistics=0,
                tag_index=0,
            )
            self._cache.within(lambda execute: [execute(sql) for sql in TABLES])
        except (sqlite3.Error, OSError, diskcache.Timeout) as error:
            raise _broken(self.directory, error) from None
        self._shared = _SharedNumber(self.directory / "generation")
        self._shared.raise_to(self._stored_generation())
        self._checked = time.monotonic()

    def _stored_generation(self) -> int:
        return int(self._cache.read("SELECT coalesce(max(seq), 0) FROM chainops_invalidated")[0][0])

    def generation(self) -> int:
        now = time.monotonic()
        if now - self._checked > RECHECK_S:  # for one that was killed between its commit and the number
            self._checked = now
            with suppress(StoreError):
                self._shared.raise_to(self._stored_generation())
        return self._shared.value()

    def get(self, key: str) -> bytes | None:
        return self._cache.get(key)  # type: ignore[no-any-return]

    def write(self, batch: Sequence[Pending]) -> int:
        def work(execute: Callable[..., Any]) -> int:
            return sum(self._write(execute, row) for row in batch)

        return self._cache.within(work)

    def _write(self, execute: Callable[..., Any], row: Pending) -> bool:
        tags = (*row.tags, EVERYTHING)
        marks = ",".join("?" * len(tags))
        newest = f"SELECT coalesce(max(seq), 0) FROM chainops_invalidated WHERE tag IN ({marks})"  # noqa: S608
        if execute(newest, tags).fetchone()[0] > row.seen:
            return False
        expire = None if row.gone is None else row.gone - time.time()
        if expire is not None and expire <= 0:
            return False
        self._cache.set(row.key, row.data, expire=expire)
        execute("DELETE FROM chainops_tag WHERE key=?", (row.key,))
        for tag in row.tags:
            execute("INSERT OR IGNORE INTO chainops_tag VALUES (?,?)", (tag, row.key))
        return True

    def invalidate(self, tags: Iterable[str]) -> int:
        wanted = sorted(set(tags))

        def work(execute: Callable[..., Any]) -> tuple[int, int]:
            known = int(execute("SELECT coalesce(max(seq), 0) FROM chainops_invalidated").fetchone()[0])
            seq, now = max(known, self._shared.value()) + 1, time.time()
            for tag in wanted:
                execute("INSERT OR REPLACE INTO chainops_invalidated VALUES (?,?,?)", (tag, seq, now))
            execute("DELETE FROM chainops_invalidated WHERE at < ?", (now - FORGET_S,))
            if EVERYTHING in wanted:
                return execute("DELETE FROM Cache").rowcount, seq
            marks = ",".join("?" * len(wanted))
            sql = f"DELETE FROM Cache WHERE key IN (SELECT key FROM chainops_tag WHERE tag IN ({marks}))"  # noqa: S608
            return execute(sql, wanted).rowcount, seq

        gone, seq = self._cache.within(work)
        self._shared.raise_to(seq)
        return gone

    def keys(self, prefix: str = "") -> Iterator[str]:
        rows = self._cache.read(
            "SELECT key FROM Cache WHERE raw = 1 AND substr(key, 1, ?) = ? AND (expire_time IS NULL OR expire_time > ?)"
            " ORDER BY store_time DESC",
            (len(prefix), prefix, time.time()),
        )
        return (key for (key,) in rows)

    def lease(self, key: str, owner: str, seconds: float) -> bool:
        now = time.time()

        def work(execute: Callable[..., Any]) -> bool:
            return bool(
                execute(
                    "INSERT INTO chainops_lease VALUES (?,?,?) ON CONFLICT (key) DO UPDATE SET"
                    " owner=excluded.owner, until=excluded.until WHERE until < ? OR owner = excluded.owner",
                    (key, owner, now + seconds, now),
                ).rowcount
            )

        return self._cache.within(work)

    def renew(self, owner: str, seconds: float) -> None:
        until = time.time() + seconds
        self._cache.within(lambda execute: execute("UPDATE chainops_lease SET until=? WHERE owner=?", (until, owner)))

    def release(self, key: str, owner: str) -> None:
        sql = "DELETE FROM chainops_lease WHERE key=? AND owner=?"
        self._cache.within(lambda execute: execute(sql, (key, owner)))

    def count(self, tally: Tally) -> None:
        def work(execute: Callable[..., Any]) -> None:
            for name, n in tally.items():
                execute(
                    "INSERT INTO chainops_tally VALUES (?,?,?,?) ON CONFLICT (hour, kind, what) DO UPDATE SET n=n+?",
                    (*name, n, n),
                )

        self._cache.within(work)

    def counted(self) -> dict[tuple[int, str, str], float]:
        rows = self._cache.read("SELECT hour, kind, what, n FROM chainops_tally")
        return {(hour, kind, what): n for hour, kind, what, n in rows}

    def note(self, key: str, data: bytes) -> None:
        def work(execute: Callable[..., Any]) -> None:
            last = execute("INSERT INTO chainops_note (key, data) VALUES (?,?)", (key, data)).lastrowid
            execute("DELETE FROM chainops_note WHERE id <= ?", (last - NOTES,))

        self._cache.within(work)

    def noted(self, prefix: str) -> list[tuple[str, bytes]]:
        sql = "SELECT key, data FROM chainops_note WHERE substr(key, 1, ?) = ? ORDER BY id DESC"
        return [(key, bytes(data)) for key, data in self._cache.read(sql, (len(prefix), prefix))]

    def size(self) -> tuple[int, int]:
        ((entries, size),) = self._cache.read("SELECT count(*), coalesce(sum(length(value)), 0) FROM Cache")
        return int(entries), int(size)

    def close(self) -> None:
        self._cache.close()
        self._shared.close()


class _SharedNumber:
    """Eight bytes of a file, mapped into the memory of every process that uses the cache."""

    def __init__(self, path: Path) -> None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(handle).st_size < 8:
                os.ftruncate(handle, 8)
            self._map = mmap.mmap(handle, 8)
        finally:
            os.close(handle)
        self._view = memoryview(self._map).cast("Q")

    def value(self) -> int:
        return self._view[0]

    def raise_to(self, number: int) -> None:
        """At least ``number`` from now on. Two at once: a reader sees a change in any case, and that is what counts."""
        if self._view[0] < number:
            self._view[0] = number

    def close(self) -> None:
        self._view.release()
        self._map.close()
