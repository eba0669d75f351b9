"""Brings an installation's files to this chainops: a backup of all of them first, then one after the other."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from chainops.errors import StoreError
from chainops.ops.backup import BackupReport, Progress, backup, databases
from chainops.ops.restore import user_of
from chainops.settings import Settings
from chainops.store.migrate import upgrade as migrate
from chainops.store.schema import SCHEMA_VERSION, connect, read_version

__all__ = ["State", "UpgradeReport", "states", "upgrade"]


@dataclass(frozen=True, slots=True)
class State:
    """A file of chainops. ``schema``: what it has; ``settings``: which of them mean it."""

    path: str
    schema: int
    settings: tuple[str, ...]

    @property
    def older(self) -> bool:
        """Whether this chainops has a newer schema."""
        return self.schema < SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class UpgradeReport:
    """What was upgraded, with the schema that it had. ``backup`` is None where nothing had to be."""

    upgraded: tuple[State, ...]
    schema: int
    backup: BackupReport | None


def states(settings: Settings) -> list[State]:
    """Every file of chainops that the settings name. Files of others are left out.

    Raises:
        StoreError: one is damaged (``store.broken``), or from a newer chainops (``store.newer``).
    """
    found = []
    for path, keys in databases(settings)[0].items():
        with closing(connect(path)) as connection:
            try:
                found.append(State(str(path), read_version(connection, path), keys))
            except StoreError as error:
                if error.code != "store.foreign":
                    raise
    return found


def upgrade(
    settings: Settings, *, to: Path | None = None, settings_file: Path | None = None, progress: Progress | None = None
) -> UpgradeReport:
    """Back everything up, then bring each older file to this schema; each wholly or not at all.

    Args:
        to: where the backup goes; else ``before-schema-<version>-<time>.tar.gz`` of the working directory.
        settings_file: goes into the backup as well.

    Raises:
        StoreError: one file is from a newer chainops (``store.newer``) or used by a running process
            (``store.in_use``): nothing was changed. Or the backup cannot be made, as :func:`chainops.ops.backup.backup`
            says: nothing was changed. Or a file cannot be upgraded: the hint names the backup.
    """
    older = [state for state in states(settings) if state.older]
    if not older:
        return UpgradeReport((), SCHEMA_VERSION, None)
    for state in older:
        if user := user_of(Path(state.path)):
            raise StoreError(
                f"{state.path} is used by process {user}", hint="Stop it, then upgrade.", code="store.in_use"
            )
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = to or Path(f"before-schema-{SCHEMA_VERSION}-{stamp}.tar.gz")
    kept = backup(settings, target, settings_file=settings_file, progress=progress)
    for state in older:
        try:
            migrate(state.path)
        except StoreError as error:
            hint = f"It is as it was. {error.hint} The way back: chainops restore {target} --force."
            raise StoreError(error.message, hint=hint, code=error.code) from error
    return UpgradeReport(tuple(older), SCHEMA_VERSION, kept)
