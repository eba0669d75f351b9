"""What was spent, and what is reserved, in one SQLite file that processes share. Whole micro-units; everything blocks.

A thread of its own writes, and takes all that waits into one transaction: what many calls ask at once is one wait for
the disk.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from chainops.errors import StoreError
from chainops.store.process import ProcessIdentity, is_gone, this_process
from chainops.store.wal import use_wal

__all__ = ["Account", "Allowed", "BudgetFile", "Claim", "Refused"]

log = logging.getLogger("chainops")

SCHEMA = """
CREATE TABLE IF NOT EXISTS account (
  scope TEXT NOT NULL, key TEXT NOT NULL, span TEXT NOT NULL, currency TEXT NOT NULL,
  spent INTEGER NOT NULL DEFAULT 0, reserved INTEGER NOT NULL DEFAULT 0, calls INTEGER NOT NULL DEFAULT 0,
  guessed INTEGER NOT NULL DEFAULT 0, refused INTEGER NOT NULL DEFAULT 0, degraded INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (scope, key, span, currency)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reservation (
  id TEXT PRIMARY KEY, amount INTEGER NOT NULL, until REAL NOT NULL, accounts TEXT NOT NULL, pid INTEGER NOT NULL,
  host TEXT NOT NULL, boot_id TEXT NOT NULL, start_ticks INTEGER NOT NULL) WITHOUT ROWID;
"""
WAIT_S = 30.0
MAX_BATCH = 500
SWEEP_S = 1.0


@dataclass(frozen=True, slots=True)
class Account:
    """Whose money, and when. ``scope`` says what is counted apart ("tenant+user/day"), ``key`` for whom, ``span`` the
    day, month or year. The figures are micro-units and numbers of calls; ``guessed`` of them cost nobody knows what,
    and were charged at their estimate.
    """

    scope: str
    key: str
    span: str
    currency: str
    spent: int = 0
    reserved: int = 0
    calls: int = 0
    guessed: int = 0
    refused: int = 0
    degraded: int = 0

    @property
    def place(self) -> tuple[str, str, str, str]:
        """By which it is found."""
        return self.scope, self.key, self.span, self.currency


@dataclass(frozen=True, slots=True)
class Claim:
    """An account, and the limits that hold for this call: micro-units, None for none."""

    account: tuple[str, str, str, str]
    hard: int | None
    soft: int | None


@dataclass(frozen=True, slots=True)
class Allowed:
    """Reserved. ``left``: the least that the hard limits leave, None without any; ``over``: positions of the claims
    whose soft limit is passed.
    """

    left: int | None
    over: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was reserved: the claim at ``position`` has not so much left."""

    position: int
    spent: int
    reserved: int


class BudgetFile:
    """The accounts in the file at ``path``, made where it is missing. One object serves all threads and event loops.

    What a process reserved that was killed is given back when somebody needs it.

    Args:
        lease_s: seconds after which a reservation of a process on another machine is given back.
        clock: seconds since 1970, for tests.
    """

    def __init__(self, path: str | Path, *, lease_s: float = 3600.0, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path)
        self.lease_s = lease_s
        self.clock = clock
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._pid = os.getpid()
        self._swept = float("-inf")
        atexit.register(self.close)

    def reserve(self, id_: str, amount: int, claims: Sequence[Claim]) -> Future[Allowed | Refused]:
        """Put ``amount`` aside in all accounts, or in none. The future may fail with a ``StoreError``."""
        return self._ask(lambda db: self._reserve(db, id_, amount, claims))

    def settle(self, id_: str, micro: int, places: Sequence[tuple[str, str, str, str]], *, guess: bool = False) -> None:
        """Take the reservation back and write down what was spent. A failure is logged; the reservation stays."""
        done = self._ask(lambda db: self._settle(db, id_, micro, places, guess))
        done.add_done_callback(self._settled)

    def release(self, id_: str) -> None:
        """Give a reservation back; nothing happened. None of that id: nothing to do."""
        self._ask(lambda db: self._give_back(db, id_)).add_done_callback(self._settled)

    def accounts(self, *, since: str = "") -> list[Account]:
        """All accounts, or those of days, months and years not before ``since`` ("2026-11").

        Raises:
            StoreError: the file cannot be read (``budgets.file``).
        """
        wanted = "SELECT * FROM account WHERE span >= substr(?, 1, length(span)) ORDER BY span DESC, scope, key"
        found: list[Account] = self._ask(lambda db: [Account(*row) for row in db.execute(wanted, (since,))]).result()
        return found

    def flush(self) -> None:
        """Wait until everything is written that was asked for so far."""
        self._ask(lambda db: None).result()

    def close(self) -> None:
        """Write what waits, and close the file."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is None or self._pid != os.getpid():
                return
            self._waiting.put(None)
        thread.join(WAIT_S)

    def _ask(self, work: Callable[[sqlite3.Connection], Any]) -> Future[Any]:
        answer: Future[Any] = Future()
        if self._pid != os.getpid():  # a fork took the lock and the queue along, but not the thread
            self._lock, self._waiting = threading.Lock(), queue.SimpleQueue()
            self._thread, self._pid = None, os.getpid()
        with self._lock:
            self._waiting.put((work, answer))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._serve, args=(self._waiting,), name="chainops budgets", daemon=True
                )
                self._thread.start()
        return answer

    def _settled(self, done: Future[Any]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            log.error("What a call cost could not be charged; it stays reserved: %s", error)

    # what follows runs in the thread

    def _serve(self, waiting: queue.SimpleQueue[Any]) -> None:
        db: sqlite3.Connection | None = None
        closing = False
        while not closing:
            batch = [waiting.get()]
            while len(batch) < MAX_BATCH and not waiting.empty():
                batch.append(waiting.get())
            closing = None in batch
            batch = [item for item in batch if item is not None and item[1].set_running_or_notify_cancel()]
            if not batch:
                continue
            try:
                db = db or self._open()
                answers = self._transaction(db, [work for work, _ in batch])
            except Exception as error:  # noqa: BLE001 - who asked gets it
                if db is not None:
                    db.close()
                    db = None
                failed = self._explain(error)
                for _, answer in batch:
                    answer.set_exception(failed)
                continue
            for (_, answer), value in zip(batch, answers, strict=True):
                answer.set_result(value)
        if db is not None:
            db.close()

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._me = this_process()
        db = sqlite3.connect(self.path, timeout=WAIT_S, isolation_level=None)
        try:
            use_wal(db)
            db.executescript(SCHEMA)
            db.execute("PRAGMA busy_timeout=0")  # SQLite would sleep for up to 100 ms; see _begin
        except BaseException:
            db.close()
            raise
        return db

    def _transaction(self, db: sqlite3.Connection, works: list[Callable[..., Any]]) -> list[Any]:
        self._begin(db)
        try:
            found = [work(db) for work in works]
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return found

    def _begin(self, db: sqlite3.Connection) -> None:
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(random.uniform(0.0002, 0.002))  # noqa: S311 - so that processes do not wake in step

    def _reserve(self, db: sqlite3.Connection, id_: str, amount: int, claims: Sequence[Claim]) -> Allowed | Refused:
        found = self._check(db, amount, claims)
        if isinstance(found, Refused) and self._sweep(db):
            found = self._check(db, amount, claims)
        if isinstance(found, Refused):
            self._add(db, [claims[found.position].account], refused=1)
            return found
        places = list(dict.fromkeys(claim.account for claim in claims))
        over = {claims[position].account for position in found.over}
        self._add(db, places, reserved=amount)
        self._add(db, [place for place in places if place in over], degraded=1)
        me = self._me
        db.execute(
            "INSERT INTO reservation VALUES (?,?,?,?,?,?,?,?)",
            (
                *(id_, amount, self.clock() + self.lease_s, orjson.dumps(places).decode()),
                *(me.pid, me.host, me.boot_id, me.start_ticks),
            ),
        )
        return found

    def _check(self, db: sqlite3.Connection, amount: int, claims: Sequence[Claim]) -> Allowed | Refused:
        left: int | None = None
        over: list[int] = []
        for position, claim in enumerate(claims):
            row = db.execute(
                "SELECT spent, reserved FROM account WHERE scope=? AND key=? AND span=? AND currency=?", claim.account
            ).fetchone()
            spent, reserved = row or (0, 0)
            after = spent + reserved + amount
            if claim.hard is not None:
                if after > claim.hard or spent >= claim.hard:
                    return Refused(position, spent, reserved)
                left = claim.hard - after if left is None else min(left, claim.hard - after)
            if claim.soft is not None and after > claim.soft:
                over.append(position)
        return Allowed(left, tuple(over))

    def _settle(
        self, db: sqlite3.Connection, id_: str, micro: int, places: Sequence[tuple[str, str, str, str]], guess: bool
    ) -> None:
        self._give_back(db, id_)
        self._add(db, list(dict.fromkeys(places)), spent=micro, calls=1, guessed=int(guess))

    def _give_back(self, db: sqlite3.Connection, id_: str) -> None:
        row = db.execute("DELETE FROM reservation WHERE id=? RETURNING amount, accounts", (id_,)).fetchone()
        if row is not None:
            self._add(db, [tuple(place) for place in orjson.loads(row[1])], reserved=-row[0])

    def _sweep(self, db: sqlite3.Connection) -> int:
        """Give back what nobody will settle any more; how many. At most once a second."""
        if time.monotonic() - self._swept < SWEEP_S:
            return 0
        self._swept = time.monotonic()
        rows = db.execute("SELECT id, until, pid, host, boot_id, start_ticks FROM reservation").fetchall()
        now, gone = self.clock(), {process: is_gone(ProcessIdentity(*process)) for process in {row[2:] for row in rows}}
        lost = [id_ for id_, until, *process in rows if until < now or gone[tuple(process)]]
        for id_ in lost:
            self._give_back(db, id_)
        return len(lost)

    @staticmethod
    def _add(db: sqlite3.Connection, places: Sequence[tuple[str, ...]], **more: int) -> None:
        names = ", ".join(more)
        marks = ",".join("?" * (4 + len(more)))
        sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in more)
        db.executemany(
            f"INSERT INTO account (scope, key, span, currency, {names}) VALUES ({marks})"  # noqa: S608 - our own names
            f" ON CONFLICT (scope, key, span, currency) DO UPDATE SET {sums}",
            [(*place, *more.values()) for place in places],
        )

    def _explain(self, error: Exception) -> Exception:
        if not isinstance(error, sqlite3.Error | OSError):
            return error
        return StoreError(
            f"The budgets in {self.path} cannot be used: {error}",
            hint="Give [budgets].path a file in a folder that can be written; until then calls with a budget fail.",
            code="budgets.file",
        )
