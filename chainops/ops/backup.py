"""One file with everything that an installation cannot make again: its databases and its settings.

A gzipped tar: a copy of each database, made while others write into it; the settings file; ``manifest.json`` last.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from chainops import __version__
from chainops.errors import StoreError
from chainops.settings import Settings
from chainops.store.schema import APPLICATION_ID, explain

__all__ = ["MANIFEST", "BackupReport", "Kept", "LeftOut", "backup", "databases", "is_database", "problems_of"]

MANIFEST = "manifest.json"
FORMAT = 1
MAGIC = b"SQLite format 3\0"
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Kept:
    """One file of a backup. ``name``: in the archive; ``path``: where it lies, as the settings have it.

    ``schema`` is the version of a file of chainops, None for others. ``settings``: which of them mean this file.
    """

    name: str
    path: str
    kind: str
    sha256: str
    bytes: int
    schema: int | None
    settings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that settings name and that is not in the backup."""

    setting: str
    path: str
    why: str


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup holds. ``bytes``: the size of the archive."""

    path: Path
    bytes: int
    kept: tuple[Kept, ...]
    left_out: tuple[LeftOut, ...]


def backup(
    settings: Settings,
    target: Path,
    *,
    settings_file: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> BackupReport:
    """Write the backup, while the installation runs. It appears under its name only when it is whole and was checked.

    Args:
        settings_file: is kept as well.
        force: replace a file that is there.

    Raises:
        StoreError: the target is there already (``store.exists``) or cannot be written, a database is damaged
            (``store.broken``), or there is none (``store.nothing``).
    """
    if target.exists() and not force:
        raise StoreError(f"{target} exists already", hint="Give another name, or --force.", code="store.exists")
    found, left_out = databases(settings)
    if not found:
        raise StoreError(
            "There is no database to back up: none of the files that the settings name exists",
            hint="Run it in the data directory, or give the settings with --file.",
            code="store.nothing",
        )
    part = target.with_name(f"{target.name}.part")
    try:
        with tempfile.TemporaryDirectory(prefix=".backup-", dir=target.absolute().parent) as scratch:
            kept = _write(part, Path(scratch), found, settings_file, left_out, progress)
        _check_again(part, kept)
        part.replace(target)
    except sqlite3.Error as error:
        raise explain(error, target) from error
    except OSError as error:
        raise StoreError(
            f"Cannot write {target}: {error.strerror}", hint="Give a path in a folder with room.", code="store.output"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return BackupReport(target, target.stat().st_size, tuple(kept), tuple(left_out))


def databases(settings: Settings) -> tuple[dict[Path, tuple[str, ...]], list[LeftOut]]:
    """Every SQLite file that a setting names, with the settings that name it; and what else they name."""
    found: dict[Path, tuple[str, ...]] = {}
    left_out = []
    for key, path in _paths(settings):
        if is_database(path):
            known = next((other for other in found if other.samefile(path)), path)
            found[known] = (*found.get(known, ()), key)
        elif path.exists():
            why = "caches are made again" if "cache" in key else "a folder" if path.is_dir() else "no database"
            left_out.append(LeftOut(key, str(path), why))
    return found, left_out


def _paths(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Path]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _paths(value, f"{prefix}{name}.")
        elif isinstance(value, Path):
            yield f"{prefix}{name}", value


def is_database(path: Path) -> bool:
    """True for a SQLite file that is there."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def problems_of(connection: sqlite3.Connection) -> list[str]:
    """What SQLite finds damaged in a whole file."""
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)")]
    return [] if found == ["ok"] else found


def _write(
    part: Path,
    scratch: Path,
    found: dict[Path, tuple[str, ...]],
    settings_file: Path | None,
    left_out: list[LeftOut],
    progress: Progress | None,
) -> list[Kept]:
    kept = []
    with tarfile.open(part, "w:gz", compresslevel=1) as tar:
        for number, (path, keys) in enumerate(found.items()):
            copy = scratch / str(number)
            schema = _copy(path, copy, progress)
            kept.append(_add(tar, copy, f"data/{number}-{path.name}", str(path), "database", schema, keys))
            copy.unlink()
        if settings_file is not None and settings_file.is_file():
            copy = Path(shutil.copyfile(settings_file, scratch / "settings"))
            kept.append(_add(tar, copy, "data/chainops.toml", settings_file.name, "settings", None, ()))
        manifest = {
            "format": FORMAT,
            "chainops": __version__,
            "host": os.uname().nodename,
            "created_ns": time.time_ns(),
            "files": [asdict(each) for each in kept],
            "left_out": [asdict(each) for each in left_out],
        }
        data = json.dumps(manifest, indent=1).encode()
        entry = tarfile.TarInfo(MANIFEST)
        entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
        tar.addfile(entry, io.BytesIO(data))
    with part.open("rb") as file:
        os.fsync(file.fileno())
    return kept


def _copy(path: Path, to: Path, progress: Progress | None) -> int | None:
    """A consistent copy by SQLite's backup interface; the version of its schema if it is a file of chainops."""
    report = None if progress is None else (lambda _status, left, total: progress(total - left, total))
    source = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10)
    with closing(source), closing(sqlite3.connect(to)) as copy:
        source.backup(copy, pages=2000, progress=report)
        copy.execute("PRAGMA journal_mode=DELETE").fetchall()
        if problems := problems_of(copy):
            raise StoreError(
                f"{path} is damaged: {problems[0]}", hint="chainops db check, or restore a backup.", code="store.broken"
            )
        if copy.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            return None
        return int(copy.execute("PRAGMA user_version").fetchone()[0])


def _add(
    tar: tarfile.TarFile, file: Path, name: str, path: str, kind: str, schema: int | None, keys: tuple[str, ...]
) -> Kept:
    with file.open("rb") as data:
        digest = hashlib.file_digest(data, "sha256").hexdigest()
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = file.stat().st_size, int(time.time()), 0o600
    with file.open("rb") as data:
        tar.addfile(entry, data)
    return Kept(name, path, kind, digest, entry.size, schema, keys)


def _check_again(part: Path, kept: list[Kept]) -> None:
    """Read what was written: a full disk or a bad one shows now, not on the day of the restore."""
    wanted: dict[str, Any] = {each.name: each.sha256 for each in kept}
    with tarfile.open(part, "r:gz") as tar:
        for entry in tar:
            data = tar.extractfile(entry)
            if entry.name in wanted and data is not None:
                digest = hashlib.sha256()
                while block := data.read(1 << 20):
                    digest.update(block)
                if digest.hexdigest() == wanted[entry.name]:
                    del wanted[entry.name]
    if wanted:
        raise StoreError(
            f"{part} does not hold what was written to it: {', '.join(wanted)}",
            hint="Check the disk, or write to another.",
            code="store.backup",
        )
