"""Names and labels from memory: what the event loop asks, while other processes add versions and move labels."""

from __future__ import annotations

import asyncio
import difflib
import hashlib
import logging
import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chainops.errors import StoreError
from chainops.store.artifacts import (
    COLUMNS,
    LATEST,
    MOVE_COLUMNS,
    Artifacts,
    ArtifactVersion,
    LabelMove,
    retired_error,
    settled,
    unknown_label,
    unknown_version,
)
from chainops.store.schema import explain, open_reader

__all__ = ["Entry", "Registry", "View"]

log = logging.getLogger("chainops")


@dataclass(frozen=True, slots=True)
class Entry:
    """What there is under one name: versions by number, where labels point, what is retired, all moves."""

    versions: Mapping[int, ArtifactVersion]
    hashes: Mapping[str, int]
    moves: tuple[LabelMove, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)
    retired: frozenset[int] = frozenset()
    latest: int | None = None


class View:
    """Everything of one kind at one moment. It never changes: a run that holds it sees no later promotion."""

    __slots__ = ("_held", "_labels", "_stamp", "entries", "kind")

    def __init__(self, kind: str, entries: Mapping[str, Entry], held: Mapping[str, int] | None = None) -> None:
        self.kind = kind
        self.entries = entries
        self._stamp = ""
        self._held = held
        self._labels = frozenset(key.rpartition("@")[2] for key in held or ())

    @property
    def stamp(self) -> str:
        """A hash of what every name and label means here: it changes when a label moves, and with a new version."""
        if not self._stamp:
            state = [
                (name, entry.latest, sorted(entry.labels.items()), sorted(entry.retired))
                for name, entry in sorted(self.entries.items())
            ]
            if self._held is not None:
                state.append(("held", None, sorted(self._held.items()), []))
            self._stamp = hashlib.sha256(repr(state).encode()).hexdigest()[:16]
        return self._stamp

    def held(self, versions: Mapping[str, int]) -> View:
        """The same, with labels that mean what ``versions`` says (``{"answer@prod": 3}``).

        A label that stands nowhere in it means what it means now.
        """
        return View(self.kind, self.entries, versions)

    def label(self, name: str, label: str) -> int | None:
        """The number that a label of ``name`` points to, or None."""
        if self._held is not None and label in self._labels:
            return self._held.get(f"{name}@{label}")
        entry = self.entries.get(name)
        return None if entry is None else entry.labels.get(label)

    def labels(self) -> dict[str, int]:
        """Every label of every name: ``{"answer@prod": 3}``."""
        return {f"{name}@{label}": to for name, entry in self.entries.items() for label, to in entry.labels.items()}

    def resolve(self, name: str, ref: str | int = LATEST) -> ArtifactVersion:
        """The version that a label (or "latest", or a number) of ``name`` means here.

        Raises:
            StoreError: no such name, label or version, or it is retired.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise self._unknown(name)
        number = self._number(entry, name, ref)
        version = entry.versions.get(number)
        if version is None:
            raise unknown_version(self.kind, name, number, max(entry.versions, default=0))
        if number in entry.retired:
            raise retired_error(self.kind, name, number)
        return version

    def by_hash(self, name: str, sha256: str) -> ArtifactVersion:
        """The version of ``name`` with this content, retired or not: what another version was built on stays.

        Raises:
            StoreError: there is none.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise self._unknown(name)
        if sha256 not in entry.hashes:
            raise StoreError(
                f"The {self.kind} {name!r} has no version with the hash {sha256[:12]}…",
                hint="Add that version, or add again what needs it.",
                code="store.unknown_version",
            )
        return entry.versions[entry.hashes[sha256]]

    def _number(self, entry: Entry, name: str, ref: str | int) -> int:
        if isinstance(ref, int):
            return ref
        found = self.label(name, ref)
        if found is not None:
            return found
        if ref == LATEST:
            if entry.latest is None:
                raise retired_error(self.kind, name, max(entry.versions, default=0))
            return entry.latest
        if ref.isdecimal() and len(ref) < 10:
            return int(ref)
        raise unknown_label(self.kind, name, ref, dict(entry.labels))

    def _unknown(self, name: str) -> StoreError:
        close = difflib.get_close_matches(name, self.entries, n=1)
        return StoreError(
            f"There is no {self.kind} {name!r}",
            hint=f"Did you mean {close[0]!r}?" if close else "Add it first.",
            code="store.unknown_name",
        )


class Registry:
    """The artifacts of one kind, in memory with their content: for small things such as prompts.

    Rows are only ever added, so a look at the file reads what is new and nothing else. When the file cannot be read
    any more, what is known stays in use, with a warning.

    Args:
        max_age_s: seconds after which :meth:`view` looks at the file again; by then, what other processes did shows.
    """

    def __init__(self, path: str | Path, kind: str, *, max_age_s: float = 1.0) -> None:
        self.store = Artifacts(path)
        self.kind = kind
        self.max_age_s = max_age_s
        self._lock = threading.Lock()
        self._view: View | None = None
        self._seen = {"artifact": (0, 0), "label": (0, 0)}
        self._looked = 0.0
        self._warned = False

    async def view(self) -> View:
        """What holds now: at once while it is fresh, else after a look at the file in another thread."""
        view = self._view
        if view is not None and time.monotonic() - self._looked < self.max_age_s:
            return view
        return await asyncio.to_thread(self.look)

    async def add(self, name: str, content: Any, *, author: str, message: str = "") -> ArtifactVersion:
        """As :meth:`~chainops.store.artifacts.Artifacts.add`, in another thread; seen here at once."""
        version, _ = await asyncio.to_thread(self.store.add, self.kind, name, content, author=author, message=message)
        await asyncio.to_thread(self.look, force=True)
        return version

    async def move(self, name: str, label: str, to: int | None, *, who: str, why: str = "") -> LabelMove:
        """As :meth:`~chainops.store.artifacts.Artifacts.move`, in another thread; seen here at once."""
        move = await asyncio.to_thread(self.store.move, self.kind, name, label, to, who=who, why=why)
        await asyncio.to_thread(self.look, force=True)
        return move

    def look(self, *, force: bool = False) -> View:
        """Read from the file what is new. Blocks: not for the event loop.

        Raises:
            StoreError: the file cannot be read, and never could.
        """
        asked = time.monotonic()
        with self._lock:
            if self._view is not None and (self._looked > asked or (not force and self._is_fresh())):
                return self._view
            began = time.monotonic()  # what is written from now on may be missing in what is read
            try:
                self._read()
                self._warned = False
            except (StoreError, sqlite3.Error, OSError) as error:
                if self._view is None:
                    raise explain(error, self.store.path) if isinstance(error, sqlite3.Error) else error from None
                if not self._warned:
                    self._warned = True
                    log.warning("%ss stay as they were last seen: %s", self.kind, error)
            self._looked = began
            assert self._view is not None
            return self._view

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._looked < self.max_age_s

    def _read(self) -> None:
        db = open_reader(self.store.path)
        try:
            db.row_factory = None
            db.execute("BEGIN")  # one moment for both tables
            same = self._view is not None and all(_is_there(db, table, *row) for table, row in self._seen.items())
            seen = self._seen if same else {"artifact": (0, 0), "label": (0, 0)}
            versions = [ArtifactVersion(*row) for row in self._rows(db, COLUMNS, "artifact", seen)]
            moves = [LabelMove(*row) for row in self._rows(db, MOVE_COLUMNS, "label", seen)]
        finally:
            db.close()
        if versions or moves or not same:
            before = self._view.entries if same and self._view is not None else {}
            self._view = View(self.kind, _with(before, versions, moves))
        self._seen = {
            "artifact": (versions[-1].id, versions[-1].created_ns) if versions else seen["artifact"],
            "label": (moves[-1].id, moves[-1].created_ns) if moves else seen["label"],
        }

    def _rows(self, db: sqlite3.Connection, columns: str, table: str, seen: Mapping[str, tuple[int, int]]) -> list[Any]:
        return db.execute(
            f"SELECT {columns} FROM {table} WHERE id > ? AND kind = ? ORDER BY id",  # noqa: S608 - our own names
            (seen[table][0], self.kind),
        ).fetchall()


def _is_there(db: sqlite3.Connection, table: str, id_: int, created_ns: int) -> bool:
    """False when the file was replaced by another, or made anew, since that row was read."""
    return id_ == 0 or bool(
        db.execute(f"SELECT 1 FROM {table} WHERE id=? AND created_ns=?", (id_, created_ns)).fetchone()  # noqa: S608
    )


def _with(entries: Mapping[str, Entry], versions: list[ArtifactVersion], moves: list[LabelMove]) -> dict[str, Entry]:
    """``entries`` with what was added; entries that nothing was added to are shared."""
    new_versions: dict[str, list[ArtifactVersion]] = {}
    new_moves: dict[str, list[LabelMove]] = {}
    for version in versions:
        new_versions.setdefault(version.name, []).append(version)
    for move in moves:
        new_moves.setdefault(move.name, []).append(move)
    found = dict(entries)
    for name in {**new_versions, **new_moves}:
        old = entries.get(name, Entry({}, {}))
        added = new_versions.get(name, [])
        every = (*old.moves, *new_moves.get(name, ()))
        labels, retired = settled(list(every))
        numbered = {**old.versions, **{v.version: v for v in added}}
        found[name] = Entry(
            versions=numbered,
            hashes={**old.hashes, **{v.sha256: v.version for v in added}},
            moves=every,
            labels=labels,
            retired=retired,
            latest=max((number for number in numbered if number not in retired), default=None),
        )
    return found
