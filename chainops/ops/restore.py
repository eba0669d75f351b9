"""Brings a backup back: checked as a whole first, then put in place; what was there is kept beside it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
import zlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainops.errors import StoreError
from chainops.ops.backup import FORMAT, MANIFEST, Kept, is_database, problems_of
from chainops.store.process import ProcessIdentity, is_gone
from chainops.store.schema import APPLICATION_ID, SCHEMA_VERSION, explain

__all__ = ["RestoreReport", "restore", "user_of", "verify"]


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What was restored. ``set_aside``: where the files lie now that were there before. ``made_by``: that chainops."""

    made_by: str
    created_ns: int
    files: tuple[Kept, ...]
    placed: tuple[Path, ...]
    set_aside: tuple[Path, ...]


def verify(archive: Path) -> RestoreReport:
    """Check a backup as :func:`restore` does, and change nothing.

    Raises:
        StoreError: it is damaged or no backup (``store.backup``), or of a newer chainops (``store.newer``).
    """
    beside = archive.absolute().parent  # where there was room for it; it may be a read-only disk
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=beside if os.access(beside, os.W_OK) else None) as scratch:
        manifest, kept = _stage(archive, Path(scratch))
    return RestoreReport(manifest["chainops"], manifest["created_ns"], tuple(kept), (), ())


def restore(archive: Path, into: Path, *, force: bool = False, absolute: bool = False) -> RestoreReport:
    """Put the files of a backup back, below ``into``. All of them, or none.

    Args:
        force: also where files are already; these get another name.
        absolute: also files that lay outside the data directory, to where they were.

    Raises:
        StoreError: as :func:`verify`; a file is there already (``store.exists``), is used by a running process
            (``store.in_use``), or cannot be written (``store.output``).
    """
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".restore-", dir=into) as scratch:
            manifest, kept = _stage(archive, Path(scratch))
            targets = [_target(each, into, absolute=absolute) for each in kept]
            for target in targets:
                _check_target(target, force=force)
            aside = _place([Path(scratch) / each.name for each in kept], targets)
    except OSError as error:
        raise StoreError(
            f"Cannot restore into {into}: {error.strerror or error}",
            hint="Give a folder that you can write in, with room for the files.",
            code="store.output",
        ) from error
    return RestoreReport(manifest["chainops"], manifest["created_ns"], tuple(kept), tuple(targets), tuple(aside))


def _stage(archive: Path, scratch: Path) -> tuple[dict[str, Any], list[Kept]]:
    try:
        with tarfile.open(archive, "r:gz") as tar:
            _extract(tar, scratch)
        manifest = json.loads((scratch / MANIFEST).read_text(encoding="utf-8"))
        form = manifest["format"]
        kept = [Kept(**{**each, "settings": tuple(each["settings"])}) for each in manifest["files"]]
        _ = manifest["chainops"], manifest["created_ns"]
    except FileNotFoundError as error:
        if not archive.exists():
            raise StoreError(f"There is no backup {archive}", hint="Check the path.", code="store.missing") from None
        raise _bad(archive, f"{error.filename} is missing") from None
    except (tarfile.TarError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise _bad(archive, f"{type(error).__name__}: {error}") from None
    if form != FORMAT or (newer := [each for each in kept if (each.schema or 0) > SCHEMA_VERSION]):
        what = f"format {form}" if form != FORMAT else f"{newer[0].path} with schema {newer[0].schema}"
        raise StoreError(
            f"{archive} is from chainops {manifest['chainops']} and holds {what}; this one knows {SCHEMA_VERSION}",
            hint="Restore it with that version of chainops, or a newer one.",
            code="store.newer",
        )
    for each in kept:
        _check_file(archive, scratch, each)
    return manifest, kept


def _extract(tar: tarfile.TarFile, scratch: Path) -> None:
    """Only what a backup is made of: plain files, in one folder."""
    (scratch / "data").mkdir()
    for entry in tar:
        folder, _, name = entry.name.rpartition("/")
        source = tar.extractfile(entry) if entry.isfile() else None
        if source is None or folder not in ("", "data") or (not folder and name != MANIFEST) or name in ("", ".", ".."):
            raise tarfile.TarError(f"{entry.name!r} does not belong into a backup")
        with (scratch / entry.name).open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)


def _check_file(archive: Path, scratch: Path, kept: Kept) -> None:
    file = scratch / kept.name
    if not file.is_file() or not file.resolve().is_relative_to(scratch.resolve()):
        raise _bad(archive, f"{kept.name} is missing")
    with file.open("rb") as data:
        if hashlib.file_digest(data, "sha256").hexdigest() != kept.sha256:
            raise _bad(archive, f"{kept.name} is not what the manifest says")
    if kept.kind == "database":
        with closing(sqlite3.connect(file)) as connection:
            try:
                problems = problems_of(connection)
            except sqlite3.Error as error:
                problems = [str(error)]
            if problems:
                raise _bad(archive, f"{kept.name}: {problems[0]}")


def _target(kept: Kept, into: Path, *, absolute: bool) -> Path:
    path = Path(kept.path)
    if not path.is_absolute() and (into / path).resolve().is_relative_to(into.resolve()):
        return into / path
    if not absolute:
        raise StoreError(
            f"{path} lay outside the data directory",
            hint="Give --absolute to restore it to there; only with a backup that you trust.",
            code="store.outside",
        )
    return into / path


def _check_target(target: Path, *, force: bool) -> None:
    if not target.exists():
        return
    if not force:
        raise StoreError(
            f"{target} exists already", hint="Give another folder with --into, or --force.", code="store.exists"
        )
    if user := user_of(target):
        raise StoreError(f"{target} is used by process {user}", hint="Stop it first.", code="store.in_use")


def user_of(path: Path) -> int | None:
    """A living process that has this file open for its traces."""
    if not is_database(path):
        return None
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                return None
            rows = connection.execute("SELECT pid, host, boot_id, start_ticks FROM process WHERE ended_ns IS NULL")
            return next((row[0] for row in rows if not is_gone(ProcessIdentity(*row))), None)
    except sqlite3.DatabaseError:
        return None  # what is damaged can be replaced


def _place(staged: list[Path], targets: list[Path]) -> list[Path]:
    """Move everything to its place; when one does not work, everything back."""
    done: list[tuple[Path, Path]] = []
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    try:
        for file, target in zip(staged, targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            if is_database(target):
                _settle_log(target)
            for old in (target, *(target.with_name(target.name + end) for end in ("-wal", "-shm"))):
                if old.exists():
                    aside = old.with_name(f"{old.name}.before-restore-{stamp}")
                    old.replace(aside)
                    done.append((aside, old))
            shutil.move(file, target)
            done.append((target, file))
            _sync(target)
    except BaseException:
        for moved, back in reversed(done):
            moved.replace(back)
        raise
    return [moved for moved, back in done if ".before-restore-" in moved.name]


def _settle_log(path: Path) -> None:
    """Bring the write-ahead log into the file, so that the old file is whole by itself."""
    try:
        with closing(sqlite3.connect(path, timeout=5)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.OperationalError as error:
        raise explain(error, path) from error
    except sqlite3.DatabaseError:
        return


def _sync(path: Path) -> None:
    for each in (path, path.parent):
        handle = os.open(each, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _bad(archive: Path, problem: str) -> StoreError:
    return StoreError(f"{archive} is no whole backup: {problem}", hint="Use another copy of it.", code="store.backup")
