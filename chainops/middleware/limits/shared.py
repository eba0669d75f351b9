"""Counts that several processes of one machine share: a protocol, and SQLite."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from chainops.errors import StoreError
from chainops.store.process import ProcessIdentity, is_gone, this_process
from chainops.store.wal import use_wal

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Admission", "LimitFile", "LimitStore"]


@dataclass(frozen=True, slots=True)
class Admission:
    """What a call asks of one count.

    Args:
        key: which count.
        owner: of the place, unique for the call.
        places: places in all, or None.
        rates: amount, seconds for one unit, and tolerance in seconds, by the name of the rate.
        waited_s: how long the call stands at the head already: so far back an unused rate counts.
    """

    key: str
    owner: str
    places: int | None
    rates: dict[str, tuple[float, float, float]]
    waited_s: float = 0.0


class LimitStore(Protocol):
    """Where the counts are. Methods block, are called from threads, and must be atomic across processes."""

    def admit(self, asked: Admission) -> float | None:
        """Reserve everything, or nothing: seconds until the call may start; None: no place is free."""

    def settle(self, key: str, seconds: Sequence[tuple[str, float]]) -> None:
        """Give back, by the name of the rate, what was reserved, in seconds (less than 0: take more)."""

    def release(self, key: str, owner: str) -> None:
        """Free the place."""

    def close(self) -> None:
        """Close it. The places that it still holds are free again: nobody gives them back any more."""


SCHEMA = """
CREATE TABLE IF NOT EXISTS meter (key TEXT NOT NULL, rate TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (key, rate))
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS place (
  key TEXT NOT NULL, owner TEXT NOT NULL, pid INTEGER NOT NULL, host TEXT NOT NULL, boot_id TEXT NOT NULL,
  start_ticks INTEGER NOT NULL, PRIMARY KEY (key, owner)) WITHOUT ROWID;
"""
FAR_S = 86_400.0


class LimitFile:
    """The counts in one SQLite file. What a process holds that was killed is free again at once.

    Args:
        path: of the file, made where it is missing. Not on a network file system: SQLite's locks do not hold there.

    Raises:
        StoreError: code ``limits.file``, when it cannot be opened or is no such file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._held: set[tuple[str, str]] = set()
        self._of_parent: sqlite3.Connection | None = None
        with self._clear():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        os.register_at_fork(after_in_child=partial(_renew, weakref.ref(self)))

    def _open(self) -> None:
        self._me = this_process()
        self._db = sqlite3.connect(self.path, timeout=10.0, isolation_level=None, check_same_thread=False)
        use_wal(self._db)
        self._db.execute("PRAGMA synchronous=OFF")  # counts of seconds: after a power cut they start anew
        self._db.executescript(SCHEMA)

    def admit(self, asked: Admission) -> float | None:
        """As ``LimitStore.admit``."""
        with self._lock, self._clear(), self._transaction():
            if asked.places is not None and not self._place(asked.key, asked.places):
                return None
            now, wait = time.time(), 0.0
            for rate, (amount, interval, tolerance) in asked.rates.items():
                at = self._at(asked.key, rate, now)
                wait = max(wait, at - tolerance - now)
                new = max(at, now - asked.waited_s) + amount * interval
                self._db.execute("INSERT OR REPLACE INTO meter VALUES (?, ?, ?)", (asked.key, rate, new))
            if asked.places is not None:
                me = self._me
                self._db.execute(
                    "INSERT INTO place VALUES (?, ?, ?, ?, ?, ?)",
                    (asked.key, asked.owner, me.pid, me.host, me.boot_id, me.start_ticks),
                )
                self._held.add((asked.key, asked.owner))
            return wait

    def settle(self, key: str, seconds: Sequence[tuple[str, float]]) -> None:
        """As ``LimitStore.settle``."""
        with self._lock, self._clear():
            self._db.executemany(
                "UPDATE meter SET at = at - ? WHERE key = ? AND rate = ?", [(s, key, rate) for rate, s in seconds]
            )

    def release(self, key: str, owner: str) -> None:
        """As ``LimitStore.release``."""
        with self._lock, self._clear():
            self._db.execute("DELETE FROM place WHERE key = ? AND owner = ?", (key, owner))
            self._held.discard((key, owner))

    def close(self) -> None:
        """Close the file. What is held through it is free again."""
        with self._lock:
            with suppress(sqlite3.Error):
                self._db.executemany("DELETE FROM place WHERE key = ? AND owner = ?", list(self._held))
            self._held.clear()
            self._db.close()

    def _at(self, key: str, rate: str, now: float) -> float:
        row = self._db.execute("SELECT at FROM meter WHERE key = ? AND rate = ?", (key, rate)).fetchone()
        at = 0.0 if row is None else float(row[0])
        return at if at < now + FAR_S else 0.0  # the clock was set back by more than a day

    def _place(self, key: str, places: int) -> bool:
        taken = self._db.execute("SELECT owner, pid, host, boot_id, start_ticks FROM place WHERE key = ?", (key,))
        rows = taken.fetchall()
        if len(rows) < places:
            return True
        dead = [(key, owner) for owner, *process in rows if is_gone(ProcessIdentity(*process))]
        self._db.executemany("DELETE FROM place WHERE key = ? AND owner = ?", dead)
        return len(rows) - len(dead) < places

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _clear(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                f"The counts of the limits in {self.path} cannot be used: {error}",
                hint="Give [limits].path a file in a folder that can be written, or remove the file to start anew.",
                code="limits.file",
            ) from error

    def counts(self) -> dict[str, int]:
        """Places taken now, by key."""
        with self._lock, self._clear(), closing(self._db.cursor()) as cursor:
            return dict(cursor.execute("SELECT key, count(*) FROM place GROUP BY key").fetchall())


def _renew(file: weakref.ref[LimitFile]) -> None:
    """In a forked child: a connection of its own. The parent's stays open, because closing it would drop its locks."""
    if (mine := file()) is not None:
        mine._of_parent = mine._db
        mine._lock, mine._held = threading.Lock(), set()
        mine._open()
