"""Tables of plugins in the trace file: their scripts are applied in order, once, wholly or not at all."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from chainops.errors import StoreError
from chainops.store.schema import connect, explain, immediate

__all__ = ["apply_migrations"]

_LEDGER = (
    "CREATE TABLE IF NOT EXISTS plugin_migration ("
    "plugin TEXT NOT NULL, number INTEGER NOT NULL, sha256 TEXT NOT NULL, applied_ns INTEGER NOT NULL, "
    "PRIMARY KEY (plugin, number)) WITHOUT ROWID"
)


def apply_migrations(path: str | Path, plugin: str, scripts: Sequence[str]) -> tuple[int, int]:
    """Bring the tables of ``plugin`` to its last script; returns (applied before, applied now).

    Each script runs in one transaction with its line in the ledger. It may make and change only what is called
    ``<plugin>_...``, and can begin or end no transaction.

    Raises:
        StoreError: the file cannot be opened; an applied script was changed since, or the file knows more of them
            (``store.plugin_changed``); a script fails or touches what is not the plugin's (``store.plugin_migration``).
            The file is then as it was before that script.
    """
    from chainops.store.migrate import prepare

    try:
        connection = connect(path)
    except sqlite3.Error as error:
        raise explain(error, path) from error
    try:
        prepare(connection, path)
        connection.execute(_LEDGER)
        before = _applied(connection, plugin)
        _check_unchanged(plugin, before, scripts)
        for number in range(len(before) + 1, len(scripts) + 1):
            _apply(connection, plugin, number, scripts[number - 1])
    except sqlite3.Error as error:
        raise explain(error, path) from error
    finally:
        connection.close()
    return len(before), len(scripts)


def _applied(connection: sqlite3.Connection, plugin: str) -> list[str]:
    rows = connection.execute("SELECT sha256 FROM plugin_migration WHERE plugin = ? ORDER BY number", (plugin,))
    return [digest for (digest,) in rows]


def _check_unchanged(plugin: str, before: list[str], scripts: Sequence[str]) -> None:
    if len(before) > len(scripts):
        raise StoreError(
            f"The file has {len(before)} migrations of plugin {plugin!r}, the installed version knows {len(scripts)}",
            hint="Install the newer version of the plugin, or use another file.",
            code="store.plugin_changed",
        )
    for number, (old, script) in enumerate(zip(before, scripts, strict=False), 1):
        if old != _digest(script):
            raise StoreError(
                f"Migration {number} of plugin {plugin!r} is not the one that was applied to this file",
                hint="An applied migration must never change; report this to the plugin's authors.",
                code="store.plugin_changed",
            )


def _apply(connection: sqlite3.Connection, plugin: str, number: int, script: str) -> None:
    try:
        with immediate(connection):
            if len(_applied(connection, plugin)) >= number:
                return  # another process was faster
            others = _not_of(connection, plugin)
            connection.set_authorizer(_only(plugin))
            try:
                for statement in _statements(script):
                    connection.execute(statement)
            finally:
                connection.set_authorizer(None)
            if _not_of(connection, plugin) != others:
                raise sqlite3.OperationalError(f"it changes more than what is called {plugin}_...")
            row = (plugin, number, _digest(script), time.time_ns())
            connection.execute("INSERT INTO plugin_migration VALUES (?, ?, ?, ?)", row)
    except sqlite3.Error as error:
        raise StoreError(
            f"Migration {number} of plugin {plugin!r} fails: {error}",
            hint="Nothing of it was applied. Report this to the plugin's authors.",
            code="store.plugin_migration",
        ) from error


def _only(plugin: str) -> Callable[..., int]:
    """What SQLite asks before each step: no transactions, files and pragmas, and no rows of other tables."""
    never = (sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA)
    changes = (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)

    def allowed(action: int, name: str | None, *others: str | None) -> int:
        own = name is not None and name.startswith((f"{plugin}_", "sqlite_"))
        return sqlite3.SQLITE_DENY if action in never or (action in changes and not own) else sqlite3.SQLITE_OK

    return allowed


def _not_of(connection: sqlite3.Connection, plugin: str) -> list[tuple[str, str, str]]:
    rows = connection.execute("SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master ORDER BY name")
    return [(kind, name, sql) for kind, name, table, sql in rows if not table.startswith(f"{plugin}_")]


def _statements(script: str) -> Iterator[str]:
    """The statements one by one: ``executescript`` would commit the transaction first."""
    waiting = ""
    for piece in re.findall(r"[^;]*;?", script):
        waiting += piece
        if sqlite3.complete_statement(waiting):
            yield waiting
            waiting = ""
    if waiting.strip():
        yield waiting


def _digest(script: str) -> str:
    return hashlib.sha256(script.encode()).hexdigest()
