"""The file of the semantic cache: questions, vectors, answers, what was seen in shadow mode, calibrations."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainops.errors import StoreError
from chainops.store.wal import use_wal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Calibration", "SemanticEntry", "SemanticFile", "ShadowPair"]

NAME = "semantic.db"
SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
  id INTEGER PRIMARY KEY AUTOINCREMENT, partition TEXT NOT NULL, question TEXT NOT NULL, vector BLOB NOT NULL,
  answer BLOB NOT NULL, answer_vector BLOB NOT NULL, created REAL NOT NULL, expires REAL, ms REAL NOT NULL,
  tokens INTEGER NOT NULL, micro INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS entry_partition ON entry (partition, id);
CREATE TABLE IF NOT EXISTS tag (tag TEXT NOT NULL, entry INTEGER NOT NULL, PRIMARY KEY (tag, entry)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pair (
  id INTEGER PRIMARY KEY, embedder TEXT NOT NULL, score REAL NOT NULL, cosine REAL NOT NULL, same INTEGER NOT NULL,
  question TEXT NOT NULL, other TEXT NOT NULL, created REAL NOT NULL);
CREATE TABLE IF NOT EXISTS calibration (
  id INTEGER PRIMARY KEY, embedder TEXT NOT NULL, threshold REAL NOT NULL, bound REAL NOT NULL, upper REAL NOT NULL,
  confidence REAL NOT NULL, hits INTEGER NOT NULL, wrong INTEGER NOT NULL, asked INTEGER NOT NULL, source TEXT NOT NULL,
  created REAL NOT NULL);
CREATE TABLE IF NOT EXISTS tally (
  what TEXT PRIMARY KEY, n INTEGER NOT NULL, tokens INTEGER NOT NULL, ms REAL NOT NULL, micro INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS generation (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL);
INSERT OR IGNORE INTO generation VALUES (1, 0);
"""


@dataclass(frozen=True, slots=True)
class SemanticEntry:
    """An answer to a question. Vectors are 16-bit floats."""

    id: int
    question: str
    vector: NDArray[np.float16]
    answer: bytes
    answer_vector: NDArray[np.float16]
    created: float
    expires: float | None
    ms: float
    tokens: int
    micro: int


@dataclass(frozen=True, slots=True)
class ShadowPair:
    """A question that would have been answered with another one's answer, and whether that would have been right."""

    score: float
    cosine: float
    same: bool
    question: str
    other: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """A threshold, and what was found with it: with ``confidence`` at most ``upper`` of the hits are wrong."""

    embedder: str
    threshold: float
    bound: float
    upper: float
    confidence: float
    hits: int
    wrong: int
    asked: int
    source: str
    created: float


class SemanticFile:
    """One SQLite file in ``directory`` (0700), for all threads and processes; None: in memory. All of it blocks, for
    microseconds to milliseconds.

    Raises:
        StoreError: the file cannot be made, read or written (``cache.semantic``).
    """

    def __init__(self, directory: str | Path | None) -> None:
        self._lock = threading.RLock()
        self.path = ":memory:"
        try:
            if directory is not None:
                folder = Path(directory)
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self.path = str(folder / NAME)
            self._db = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            use_wal(self._db)
            self._db.executescript(SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise _failed(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def version(self) -> tuple[int, int]:
        """Changes when another connection, or this one, has changed the file; the second number when rows went."""
        with self._lock:
            changed = self._all("PRAGMA data_version")[0][0], self._db.total_changes
            return hash(changed), self._all("SELECT number FROM generation")[0][0]

    def entries(self, partition: str, after: int = 0) -> list[SemanticEntry]:
        """The entries of a partition with higher numbers than ``after``, in their order."""
        import numpy as np

        columns = "id, question, vector, answer, answer_vector, created, expires, ms, tokens, micro"
        rows = self._all(
            f"SELECT {columns} FROM entry WHERE partition = ? AND id > ? ORDER BY id",  # noqa: S608 - our own names
            (partition, after),
        )
        found = []
        for number, question, vector, answer, other, *rest in rows:
            pair = np.frombuffer(vector, np.float16), np.frombuffer(other, np.float16)
            found.append(SemanticEntry(number, question, pair[0], answer, pair[1], *rest))
        return found

    def add(self, partition: str, entry: SemanticEntry, tags: Iterable[str], *, seen: int, most: int) -> int | None:
        """Keep an answer; its number, or None where rows went since generation ``seen``: it may be an old answer.

        ``most``: so many stay in the partition, the newest.
        """
        import numpy as np

        row = (
            partition,
            entry.question,
            np.asarray(entry.vector, np.float16).tobytes(),
            entry.answer,
            np.asarray(entry.answer_vector, np.float16).tobytes(),
            *(entry.created, entry.expires, entry.ms, entry.tokens, entry.micro),
        )
        with self._lock, self._writing():
            if self._all("SELECT number FROM generation")[0][0] != seen:
                return None
            number = self._db.execute(
                "INSERT INTO entry (partition, question, vector, answer, answer_vector, created, expires, ms, tokens,"
                " micro) VALUES (?,?,?,?,?,?,?,?,?,?) RETURNING id",
                row,
            ).fetchone()[0]
            self._db.executemany("INSERT OR IGNORE INTO tag VALUES (?,?)", [(tag, number) for tag in tags])
            old = self._all(
                "SELECT id FROM entry WHERE partition = ? ORDER BY id DESC LIMIT -1 OFFSET ?", (partition, most)
            )
            self._delete([row[0] for row in old])
        return int(number)

    def invalidate(self, tags: Sequence[str]) -> int:
        """Forget all answers with one of these tags; how many."""
        with self._lock, self._writing():
            marks = ",".join("?" * len(tags))
            rows = self._all(f"SELECT DISTINCT entry FROM tag WHERE tag IN ({marks})", tuple(tags))  # noqa: S608
            self._delete([row[0] for row in rows])
            self._db.execute("UPDATE generation SET number = number + 1")
        return len(rows)

    def clear(self) -> int:
        """Forget all answers; how many. Pairs and calibrations stay."""
        with self._lock, self._writing():
            count = self._all("SELECT count(*) FROM entry")[0][0]
            self._db.execute("DELETE FROM entry")
            self._db.execute("DELETE FROM tag")
            self._db.execute("UPDATE generation SET number = number + 1")
        return int(count)

    def remove(self, numbers: Sequence[int]) -> None:
        """Forget single entries."""
        with self._lock, self._writing():
            self._delete(list(numbers))

    def add_pair(self, embedder: str, pair: ShadowPair) -> None:
        """Keep what shadow mode saw."""
        values = (embedder, pair.score, pair.cosine, int(pair.same), pair.question, pair.other, time.time())
        with self._lock:
            self._run(
                "INSERT INTO pair (embedder, score, cosine, same, question, other, created) VALUES (?,?,?,?,?,?,?)",
                values,
            )

    def pairs(self, embedder: str) -> list[ShadowPair]:
        """What shadow mode saw with an embedder."""
        rows = self._all(
            "SELECT score, cosine, same, question, other FROM pair WHERE embedder = ? ORDER BY id", (embedder,)
        )
        return [ShadowPair(score, cosine, bool(same), question, other) for score, cosine, same, question, other in rows]

    def calibrate(self, found: Calibration) -> None:
        """Keep a calibration: the newest of an embedder holds."""
        names = Calibration.__slots__
        with self._lock:
            self._run(
                f"INSERT INTO calibration ({', '.join(names)}) VALUES ({','.join('?' * len(names))})",  # noqa: S608
                tuple(getattr(found, name) for name in names),
            )

    def calibration(self, embedder: str) -> Calibration | None:
        """The calibration that holds for an embedder."""
        rows = self._all(
            f"SELECT {', '.join(Calibration.__slots__)} FROM calibration WHERE embedder = ? ORDER BY id DESC LIMIT 1",  # noqa: S608
            (embedder,),
        )
        return Calibration(*rows[0]) if rows else None

    def count(self, what: str, *, tokens: int = 0, ms: float = 0.0, micro: int = 0) -> None:
        """Count what became of a call: "hit", "miss" or "refused", and what was saved."""
        with self._lock:
            self._run(
                "INSERT INTO tally VALUES (?,1,?,?,?) ON CONFLICT (what) DO UPDATE SET n = n + 1,"
                " tokens = tokens + excluded.tokens, ms = ms + excluded.ms, micro = micro + excluded.micro",
                (what, tokens, ms, micro),
            )

    def figures(self) -> dict[str, Any]:
        """How much there is, and what it did: ``hit_ratio`` of the calls that were looked up, or None."""
        tally = {row[0]: row[1:] for row in self._all("SELECT what, n, tokens, ms, micro FROM tally")}
        counts = {what: tally.get(what, (0, 0, 0.0, 0))[0] for what in ("hit", "miss", "refused")}
        looked = sum(counts.values())
        hit = tally.get("hit", (0, 0, 0.0, 0))
        newest = self._all("SELECT embedder FROM calibration ORDER BY id DESC LIMIT 1")
        calibration = self.calibration(newest[0][0]) if newest else None
        count, partitions = self._all("SELECT count(*), count(DISTINCT partition) FROM entry")[0]
        pairs, same = self._all("SELECT count(*), coalesce(sum(same), 0) FROM pair")[0]
        return {
            "entries": count,
            "partitions": partitions,
            "hits": counts["hit"],
            "misses": counts["miss"],
            "refused": counts["refused"],
            "hit_ratio": counts["hit"] / looked if looked else None,
            "saved_tokens": hit[1],
            "saved_ms": hit[2],
            "saved_micro": hit[3],
            "shadow_pairs": pairs,
            "shadow_same": same,
            "calibration": asdict(calibration) if calibration is not None else None,
        }

    def _delete(self, numbers: list[int]) -> None:
        if numbers:
            self._db.executemany("DELETE FROM entry WHERE id = ?", [(number,) for number in numbers])
            self._db.executemany("DELETE FROM tag WHERE entry = ?", [(number,) for number in numbers])
            self._db.execute("UPDATE generation SET number = number + 1")

    def _all(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        try:
            with self._lock:
                return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise _failed(self.path, error) from error

    def _run(self, sql: str, values: tuple[Any, ...]) -> None:
        self._all(sql, values)

    def _writing(self) -> _Transaction:
        return _Transaction(self._db, self.path)


class _Transaction:
    """``BEGIN IMMEDIATE``, then commit or roll back."""

    def __init__(self, db: sqlite3.Connection, path: str) -> None:
        self.db, self.path = db, path

    def __enter__(self) -> None:
        try:
            self.db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise _failed(self.path, error) from error

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.db.in_transaction:
            self.db.execute("COMMIT" if error is None else "ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise _failed(self.path, error) from error


def _failed(path: str, error: Exception) -> StoreError:
    return StoreError(
        f"The semantic cache {path} cannot be used: {error}",
        hint="Check the directory; the file can be deleted, it is only a cache.",
        code="cache.semantic",
    )
