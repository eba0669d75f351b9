"""Versions that never change, under names; and labels that move between them. Everything here blocks: see ``registry``.

A version is known by its number (1, 2, 3 ... under a name) and by the hash of its content. Rows are only ever added
(triggers in the file see to it), so the history of a label is kept, and going back is one more move.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from chainops.errors import StoreError
from chainops.store.canonical import canonical, fingerprint
from chainops.store.migrate import prepare
from chainops.store.schema import connect, explain, immediate, open_reader

__all__ = [
    "LATEST",
    "ArtifactVersion",
    "Artifacts",
    "LabelMove",
    "check_name",
    "retired_error",
    "retired_label",
    "settled",
    "unknown_label",
    "unknown_version",
]

LATEST = "latest"
"""The label that nobody moves: the newest version that is not retired."""

MAX_BYTES = 16 * 2**20
# Names become paths below a folder, so no part of one is "..", and none is hidden.
_NAME = re.compile(r"(?=.{1,200}\Z)[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_LABEL = re.compile(r"(?![0-9]+\Z)[a-z0-9][a-z0-9._-]{0,63}")
_RETIRED = "retired/"
COLUMNS = "id, kind, name, version, sha256, parent, author, message, created_ns, content"
MOVE_COLUMNS = "id, kind, name, label, from_version, to_version, who, why, created_ns"


@dataclass(frozen=True, slots=True)
class ArtifactVersion:
    """One version. ``parent`` is the number it was made from, ``content`` canonical JSON, ``created_ns`` since 1970."""

    id: int
    kind: str
    name: str
    version: int
    sha256: str
    parent: int | None
    author: str
    message: str
    created_ns: int
    content: bytes

    def value(self) -> Any:
        """The content, decoded anew each time: changing it changes nothing."""
        return orjson.loads(self.content)


@dataclass(frozen=True, slots=True)
class LabelMove:
    """One move of a label, ``from_version`` and ``to_version`` None where it did not, or does not, exist."""

    id: int
    kind: str
    name: str
    label: str
    from_version: int | None
    to_version: int | None
    who: str
    why: str
    created_ns: int


def retired_label(version: int) -> str:
    """The label that stands for "this version is retired"; no person can write a slash into a label."""
    return f"{_RETIRED}{version}"


def settled(moves: list[LabelMove]) -> tuple[dict[str, int], frozenset[int]]:
    """Where labels point after ``moves``, and which versions are retired."""
    now = {move.label: move.to_version for move in moves}
    retired = frozenset(v for label, v in now.items() if label.startswith(_RETIRED) and v is not None)
    return {k: v for k, v in now.items() if v is not None and not k.startswith(_RETIRED)}, retired


class Artifacts:
    """Versions and labels in the file at ``path``, which is made when something is first written.

    Every method opens the file for itself, so one object serves all threads and survives a fork.

    Raises (all methods):
        StoreError: the file cannot be read or written, or names something that does not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def add(
        self, kind: str, name: str, content: Any, *, author: str, message: str = "", parent: int | None = None
    ) -> tuple[ArtifactVersion, bool]:
        """The version of ``name`` with this content, and True if it is new.

        Content that an earlier version has already is that version: a hash stands under a name once. ``parent`` is
        the newest version unless given. Safe in many processes at once: no number is given twice, none is lost.
        """
        check_name(name)
        _check(_NAME, "kind", kind)
        data = self._encode(kind, name, content)
        sha = fingerprint(data)
        with self._writing() as db:
            same = db.execute(
                f"SELECT {COLUMNS} FROM artifact WHERE kind=? AND name=? AND sha256=?",  # noqa: S608 - our own names
                (kind, name, sha),
            ).fetchone()
            if same is not None:
                return ArtifactVersion(*same), False
            newest = db.execute("SELECT max(version) FROM artifact WHERE kind=? AND name=?", (kind, name)).fetchone()[0]
            if parent is not None:
                self._require(db, kind, name, parent)
            row = (kind, name, (newest or 0) + 1, sha, parent or newest, author, message, time.time_ns(), data)
            return self._insert(db, row), True

    def change(
        self, kind: str, name: str, make: Callable[[Any], Any], *, author: str, message: str = ""
    ) -> ArtifactVersion:
        """A version with what ``make`` returns for the newest content that is not retired, or for None.

        Nobody adds another in between, so that of several changes at once none is lost. ``make`` must be quick, and
        its result new.
        """
        check_name(name)
        _check(_NAME, "kind", kind)
        with self._writing() as db:
            retired = settled(self._moves(db, kind, name))[1]
            rows = db.execute(
                f"SELECT {COLUMNS} FROM artifact WHERE kind=? AND name=? ORDER BY version DESC",  # noqa: S608
                (kind, name),
            )
            newest = next((v for v in (ArtifactVersion(*row) for row in rows) if v.version not in retired), None)
            data = self._encode(kind, name, make(None if newest is None else newest.value()))
            last = db.execute("SELECT max(version) FROM artifact WHERE kind=? AND name=?", (kind, name)).fetchone()[0]
            parent = None if newest is None else newest.version
            row = (kind, name, (last or 0) + 1, fingerprint(data), parent, author, message, time.time_ns(), data)
            return self._insert(db, row)

    @staticmethod
    def _insert(db: sqlite3.Connection, row: tuple[Any, ...]) -> ArtifactVersion:
        id_ = db.execute(
            "INSERT INTO artifact (kind, name, version, sha256, parent, author, message, created_ns, content)"
            " VALUES (?,?,?,?,?,?,?,?,?) RETURNING id",
            row,
        ).fetchone()[0]
        return ArtifactVersion(id_, *row)

    def move(self, kind: str, name: str, label: str, to: int | None, *, who: str, why: str = "") -> LabelMove:
        """Let ``label`` point to version ``to`` (None: to nothing), and write down who did it and why."""
        _check(_LABEL, "label", label)
        if label == LATEST:
            raise StoreError(
                f"The label {LATEST!r} always means the newest version; it cannot be moved",
                hint="Use a label of your own, for example prod.",
                code="store.label",
            )
        with self._writing() as db:
            moves = self._moves(db, kind, name)
            if to is not None:
                self._require(db, kind, name, to)
                if to in settled(moves)[1]:
                    raise retired_error(kind, name, to)
            elif label not in settled(moves)[0]:
                raise unknown_label(kind, name, label, settled(moves)[0])
            return self._append(db, moves, kind, name, label, to, who, why)

    def rollback(self, kind: str, name: str, label: str, *, who: str, why: str = "") -> LabelMove:
        """Move ``label`` back to where it pointed before; again, to where it pointed before that."""
        with self._writing() as db:
            moves = self._moves(db, kind, name)
            labels, retired = settled(moves)
            if label not in labels:
                raise unknown_label(kind, name, label, labels)
            past: list[int] = []
            for to in (move.to_version for move in moves if move.label == label):
                if to is not None:  # where a version comes back, what came after it has been undone
                    past = [*(past[: past.index(to)] if to in past else past), to]
            earlier = [version for version in past[:-1] if version not in retired]
            if not earlier:
                raise StoreError(
                    f"The label {label!r} of {kind} {name!r} points to version {labels[label]}, and to none before",
                    hint="Move it to a version that you name.",
                    code="store.rollback",
                )
            return self._append(db, moves, kind, name, label, earlier[-1], who, why)

    def retire(self, kind: str, name: str, version: int, *, who: str, why: str, back: bool = False) -> LabelMove:
        """Take a version out of use: whoever asks for it gets an error. ``back`` puts it into use again."""
        with self._writing() as db:
            self._require(db, kind, name, version)
            moves = self._moves(db, kind, name)
            return self._append(db, moves, kind, name, retired_label(version), None if back else version, who, why)

    def moves(self, kind: str, name: str) -> list[LabelMove]:
        """Every move of the labels of ``name``, oldest first."""
        db = open_reader(self.path)
        try:
            db.row_factory = None
            return self._moves(db, kind, name)
        except sqlite3.Error as error:
            raise explain(error, self.path) from error
        finally:
            db.close()

    def _encode(self, kind: str, name: str, content: Any) -> bytes:
        try:
            data = canonical(content)
        except ValueError as error:
            raise StoreError(
                f"The content of {kind} {name!r} cannot be stored: {error}",
                hint="Give JSON values only.",
                code="store.content",
            ) from None
        if len(data) > MAX_BYTES:
            raise StoreError(
                f"The content of {kind} {name!r} has {len(data):,} bytes, more than {MAX_BYTES:,}",
                hint="Store the file elsewhere, and its hash here.",
                code="store.content",
            )
        return data

    @staticmethod
    def _require(db: sqlite3.Connection, kind: str, name: str, version: int) -> None:
        newest = db.execute("SELECT max(version) FROM artifact WHERE kind=? AND name=?", (kind, name)).fetchone()[0]
        if newest is None or not 1 <= version <= newest:
            raise unknown_version(kind, name, version, newest or 0)

    @staticmethod
    def _moves(db: sqlite3.Connection, kind: str, name: str) -> list[LabelMove]:
        rows = db.execute(
            f"SELECT {MOVE_COLUMNS} FROM label WHERE kind=? AND name=? ORDER BY id",  # noqa: S608 - our own names
            (kind, name),
        )
        return [LabelMove(*row) for row in rows]

    @staticmethod
    def _append(
        db: sqlite3.Connection,
        moves: list[LabelMove],
        kind: str,
        name: str,
        label: str,
        to: int | None,
        who: str,
        why: str,
    ) -> LabelMove:
        last = next((move.to_version for move in reversed(moves) if move.label == label), None)
        row = (kind, name, label, last, to, who, why, time.time_ns())
        id_ = db.execute(
            "INSERT INTO label (kind, name, label, from_version, to_version, who, why, created_ns)"
            " VALUES (?,?,?,?,?,?,?,?) RETURNING id",
            row,
        ).fetchone()[0]
        return LabelMove(id_, *row)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            db = connect(self.path, busy_ms=30_000)
            try:
                prepare(db, self.path)
                with immediate(db):
                    yield db
            finally:
                db.close()
        except sqlite3.Error as error:
            raise explain(error, self.path) from error


def unknown_version(kind: str, name: str, version: int, newest: int) -> StoreError:
    """The error for a version that is not there."""
    there = f"it has 1 to {newest}" if newest else f"there is no {kind} of that name"
    return StoreError(
        f"The {kind} {name!r} has no version {version}: {there}",
        hint="Add it first, or mend the name or the number.",
        code="store.unknown_version",
    )


def unknown_label(kind: str, name: str, label: str, known: dict[str, int]) -> StoreError:
    """The error for a label that points to nothing."""
    return StoreError(
        f"The {kind} {name!r} has no label {label!r} (labels: {', '.join(sorted(known)) or 'none'})",
        hint=f"Let it point to a version first: chainops {kind} promote {name} {label}. Or name another label.",
        code="store.unknown_label",
    )


def retired_error(kind: str, name: str, version: int) -> StoreError:
    """The error for a version that was taken out of use."""
    return StoreError(
        f"Version {version} of {kind} {name!r} is retired",
        hint="Use another version, or put it into use again.",
        code="store.retired",
    )


def check_name(name: str) -> None:
    """Raises ``StoreError`` (``store.name``) where ``name`` is no name for an artifact."""
    _check(_NAME, "name", name)


def _check(pattern: re.Pattern[str], what: str, value: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise StoreError(
            f"{value!r} is no {what}",
            hint="Use letters, digits and . _ - (in names also a/b); a label is lower case and no number.",
            code="store.name",
        )
