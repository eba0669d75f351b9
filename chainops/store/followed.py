"""How far a plugin came in a trace file: what is new since, and which process is at it."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path

from chainops.store.plugin_tables import apply_migrations
from chainops.store.reader import Reader, RunRow, ScoreRow, SpanRow
from chainops.store.schema import connect, immediate

__all__ = ["Found", "Place", "follow_table"]

LEASE_S = 15.0  # after so long without a sign of life another process takes over
SETTLE_S = 5.0  # a run that ended may still get spans of background tasks for so long
MAX_RUNS = 200  # new runs that are read at once
MAX_SCORES = 500
_SCORE = ", ".join(each.name for each in fields(ScoreRow))


@dataclass(slots=True)
class Found:
    """What is new: spans that have ended, in the order in which they began, and scores, each with its run and span."""

    spans: list[tuple[RunRow, SpanRow]] = field(default_factory=list)
    scores: list[tuple[RunRow, SpanRow, ScoreRow]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.spans or self.scores)


@dataclass(slots=True)
class _Watched:
    """A run that may still change: its spans that were delivered, and what it looked like then."""

    sent: set[int] = field(default_factory=set)
    state: tuple[str, int, int] | None = None


def follow_table(plugin: str) -> str:
    """The migration that a plugin with a :class:`~chainops.store.follow.Follower` brings."""
    return (
        f"CREATE TABLE {plugin}_followed (id INTEGER PRIMARY KEY CHECK (id = 1), run INTEGER NOT NULL,"
        " score INTEGER NOT NULL, owner TEXT, until_ns INTEGER NOT NULL DEFAULT 0);"
    )


class Place:
    """A place in a file, kept in the plugin's table together with a lease on it. Used by one thread.

    ``look``, deliver, ``passed``; what was not passed is found again. All runs up to the one in the table are done.

    Args:
        file: the trace file.
        plugin, migrations: of the plugin.
        since_ns: what began earlier is not for it, unless the table says otherwise.
    """

    def __init__(self, file: Path, plugin: str, migrations: Sequence[str], since_ns: int) -> None:
        self.file, self._plugin, self._migrations, self._since_ns = file, plugin, migrations, since_ns
        self._table = f"{plugin}_followed"
        self._me = uuid.uuid4().hex
        self._until_ns = 0
        self._db: sqlite3.Connection | None = None
        self._reader: Reader | None = None
        self._watched: dict[int, _Watched] = {}
        self._run = self._score = 0
        self._next: tuple[dict[int, _Watched], int, int] = ({}, 0, 0)
        self._kept = (0, 0)

    def mine(self) -> bool:
        """Take or renew the lease; False while another process has it."""
        db, now = self._open(), time.time_ns()
        if self._until_ns - now > LEASE_S * 5e8:
            return True
        with immediate(db):
            run, score, owner, until_ns = db.execute(
                f"SELECT run, score, owner, until_ns FROM {self._table}"  # noqa: S608  own names only
            ).fetchone()
            if owner not in (None, self._me) and until_ns > now:
                return False
            new = (self._me, now + int(LEASE_S * 1e9))
            db.execute(f"UPDATE {self._table} SET owner = ?, until_ns = ?", new)  # noqa: S608
        if owner != self._me:  # somebody else may have been at it since
            self._kept = run, score
            self._run, self._score, self._watched = run, score, {}
        self._until_ns = new[1]
        return True

    def look(self, last: bool = False) -> Found:
        """What is new. ``last``: this process will not look again, so runs that are over are done at once."""
        if self._reader is None:
            self._reader = Reader(self.file)
        reader, found = self._reader, Found()
        watched, high = {}, self._run
        known = [run for id_ in self._watched if (run := _run(reader, id_)) is not None]
        for run in [*known, *reader.runs(after=self._run, limit=MAX_RUNS)]:
            before = self._watched.get(run.id, _Watched())
            after = self._changes(reader, run, before, found)
            high = max(high, run.id)
            settled = run.status != "open" and not (after.state and after.state[2])
            if not (settled and (last or (run.end_ns or 0) < time.time_ns() - SETTLE_S * 1e9)):
                watched[run.id] = after
        score = self._score
        sql = f"SELECT run, {_SCORE} FROM score WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
        for run_id, *columns in reader.connection.execute(sql, (score, MAX_SCORES)).fetchall():
            said = ScoreRow(*columns)
            score, of, on = said.id, _run(reader, run_id), reader.spans_by_id([said.span])
            if of is not None and on:
                found.scores.append((of, on[0], said))
        self._next = watched, high, score
        return found

    def passed(self) -> None:
        """What the last look found was delivered."""
        self._watched, self._run, self._score = self._next
        keep = min(self._watched, default=self._run + 1) - 1, self._score
        if keep != self._kept:
            db = self._open()
            with immediate(db):
                values = (*keep, self._me)
                db.execute(f"UPDATE {self._table} SET run = ?, score = ? WHERE owner = ?", values)  # noqa: S608
            self._kept = keep

    def close(self) -> None:
        """Give the lease back."""
        if self._db is not None:
            with suppress(sqlite3.Error):  # it ends by itself
                self._db.execute(f"UPDATE {self._table} SET owner = NULL WHERE owner = ?", (self._me,))  # noqa: S608
            self._db.close()
        if self._reader is not None:
            self._reader.connection.close()
        self._db = self._reader = None

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            apply_migrations(self.file, self._plugin, self._migrations)
            db = connect(self.file)
            with immediate(db):
                db.execute(
                    f"INSERT OR IGNORE INTO {self._table} (id, run, score) SELECT 1,"  # noqa: S608
                    " (SELECT coalesce(max(id), 0) FROM run WHERE start_ns < ?),"
                    " (SELECT coalesce(max(id), 0) FROM score WHERE created_ns < ?)",
                    (self._since_ns, self._since_ns),
                )
            self._db = db
        return self._db

    def _changes(self, reader: Reader, run: RunRow, before: _Watched, found: Found) -> _Watched:
        open_ = "SELECT count(*) FROM span WHERE run = ? AND status = 'open'"
        state = run.status, run.spans, int(reader.connection.execute(open_, (run.id,)).fetchone()[0])
        if state == before.state:
            return before
        new = [span for span in reader.spans(run.id) if span.status != "open" and span.id not in before.sent]
        found.spans += [(run, span) for span in new]
        return _Watched(before.sent | {span.id for span in new}, state)


def _run(reader: Reader, id_: int) -> RunRow | None:
    """The run, or None once it was pruned."""
    found = reader.runs(after=id_ - 1, limit=1)
    return found[0] if found and found[0].id == id_ else None
