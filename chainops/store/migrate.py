"""Make or upgrade a trace file with Alembic: wholly, or not at all."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

from chainops.errors import StoreError
from chainops.store.schema import APPLICATION_ID, SCHEMA_VERSION, connect, explain, read_version
from chainops.store.shipped import shipped
from chainops.store.wal import use_wal

__all__ = ["alembic_head", "prepare", "upgrade"]

# Alembic keeps the running migration in module globals: two at once would write into each other's file.
_one_at_a_time = threading.Lock()


def upgrade(path: str | Path) -> tuple[int, int]:
    """Bring the file at ``path`` to this chainops' schema; make it when it does not exist. Returns (from, to).

    Raises:
        StoreError: it cannot be opened, is no trace file, or is newer. Nothing in it was changed.
    """
    try:
        connection = connect(path)
    except sqlite3.Error as error:
        raise explain(error, path) from error
    try:
        return prepare(connection, path)
    except sqlite3.Error as error:
        raise explain(error, path) from error
    finally:
        connection.close()


def prepare(connection: sqlite3.Connection, path: str | Path, *, migrations: Path | None = None) -> tuple[int, int]:
    """As :func:`upgrade`, on an open connection. Imports Alembic only where there is something to do.

    A file of an older schema is first copied to ``<name>.schema-<version>`` beside it: the way back.
    Everything runs in one ``BEGIN IMMEDIATE`` transaction (SQLite can roll back its DDL), so a migration that
    fails, or a process that dies in it, leaves the file as it was.
    """
    found = read_version(connection, path)
    if found == 0:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    use_wal(connection)
    if 0 < found < SCHEMA_VERSION:
        _keep(connection, Path(path), found)
    if found < SCHEMA_VERSION or migrations is not None:
        _migrate(connection, path, migrations or shipped("migrations"))
    return found, SCHEMA_VERSION


def _keep(connection: sqlite3.Connection, path: Path, found: int) -> None:
    """Copy the file as it is before it is migrated; appears under its name only when it is whole."""
    kept = path.with_name(f"{path.name}.schema-{found}")
    part = kept.with_name(f"{kept.name}.{os.getpid()}.part")
    try:
        copy = connect(part)
        try:
            connection.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE").fetchall()
            same = copy.execute("PRAGMA user_version").fetchone()[0] == found  # else another process was faster
        finally:
            copy.close()
        if same:
            part.replace(kept)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"Cannot copy {path} to {kept} before it is upgraded from schema {found} to {SCHEMA_VERSION}: {error}",
            hint="Make room for a second copy beside it. Nothing was changed.",
            code="store.keep",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _migrate(connection: sqlite3.Connection, path: str | Path, migrations: Path) -> None:
    from alembic import command
    from sqlalchemy import create_engine, event
    from sqlalchemy.pool import StaticPool

    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)

    # The driver is in autocommit mode; SQLAlchemy's own BEGIN would be deferred.
    @event.listens_for(engine, "begin")
    def _begin(opened: Any) -> None:
        opened.exec_driver_sql("BEGIN IMMEDIATE")

    with _one_at_a_time, engine.connect() as opened, opened.begin():
        if read_version(connection, path) == SCHEMA_VERSION and migrations == shipped("migrations"):
            return  # another process was faster
        command.upgrade(_config(migrations, opened), "head")
        opened.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
        opened.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")


def _config(migrations: Path, connection: Any = None) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def alembic_head() -> str:
    """Alembic's newest revision ("0001"); more than one head is a StoreError."""
    from alembic.script import ScriptDirectory

    heads = ScriptDirectory.from_config(_config(shipped("migrations"))).get_heads()
    if len(heads) != 1:
        raise StoreError(f"The migrations have {len(heads)} heads: {heads}", code="store.heads")
    return heads[0]
