"""chainops upgrade: a backup first, every file or a clear refusal, and a way back."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chainops.cli import app
from chainops.errors import StoreError
from chainops.ops.restore import restore, verify
from chainops.ops.upgrade import states, upgrade
from chainops.settings import Settings, load_settings
from chainops.store.schema import APPLICATION_ID, SCHEMA_VERSION
from chainops.store.shipped import shipped


def make_old(path: Path, schema: int) -> None:
    """A file as the chainops of that schema made it, with a run in it."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(shipped("migrations")))
        config.attributes["connection"] = connection
        command.upgrade(config, f"{schema:04}")
        connection.exec_driver_sql(f"PRAGMA application_id={APPLICATION_ID}")
        connection.exec_driver_sql(f"PRAGMA user_version={schema}")
    engine.dispose()


def schema_of(path: str | Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("chainops.toml").write_text('[trace]\npath = "desk.db"\n[prompts]\npath = "prompts.db"\n')
    make_old(Path("desk.db"), 1)
    make_old(Path("prompts.db"), 2)
    return tmp_path


def settings() -> Settings:
    return load_settings(environ={})


def test_every_file_is_upgraded_after_a_backup_of_all_of_them(site: Path) -> None:
    report = upgrade(settings(), settings_file=Path("chainops.toml"))
    assert {(each.path, each.schema) for each in report.upgraded} == {("desk.db", 1), ("prompts.db", 2)}
    assert [schema_of(name) for name in ("desk.db", "prompts.db")] == [SCHEMA_VERSION] * 2
    assert report.backup is not None
    kept = {each.path: each.schema for each in verify(report.backup.path).files}
    assert kept == {"desk.db": 1, "prompts.db": 2, "chainops.toml": None}
    restore(report.backup.path, site, force=True)
    assert [schema_of(name) for name in ("desk.db", "prompts.db")] == [1, 2]


def test_where_nothing_is_older_nothing_is_written(site: Path) -> None:
    upgrade(settings())
    before = sorted(path.name for path in site.iterdir())
    assert upgrade(settings()).backup is None
    assert sorted(path.name for path in site.iterdir()) == before


def test_one_file_of_a_newer_chainops_stops_all_of_it(site: Path) -> None:
    with closing(sqlite3.connect("prompts.db")) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError) as caught:
        upgrade(settings())
    assert caught.value.code == "store.newer"
    assert schema_of("desk.db") == 1
    assert not list(site.glob("*.tar.gz"))


def test_without_room_for_the_backup_nothing_is_upgraded(site: Path) -> None:
    with pytest.raises(StoreError) as caught:
        upgrade(settings(), to=site / "no-such-folder" / "b.tar.gz")
    assert caught.value.code == "store.output"
    assert schema_of("desk.db") == 1


def test_a_file_that_a_process_uses_is_not_upgraded_under_it(site: Path) -> None:
    code = (
        "import sqlite3, sys, time; from chainops.store.process import this_process\n"
        "me = this_process(); c = sqlite3.connect('desk.db')\n"
        "known = dict(zip(('pid', 'host', 'boot_id', 'start_ticks'), (me.pid, me.host, me.boot_id, me.start_ticks)))\n"
        "must = [r[1] for r in c.execute('PRAGMA table_info(process)') if r[3] and not r[5] and r[4] is None]\n"
        "values = {**{name: 0 for name in must}, **known}\n"
        "c.execute(f\"INSERT INTO process ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})\","
        " list(values.values())); c.commit(); print('ready', flush=True); sys.stdin.read()"
    )
    user = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert user.stdout is not None and user.stdout.readline() == "ready\n"
        with pytest.raises(StoreError) as caught:
            upgrade(settings())
        assert (caught.value.code, str(user.pid) in caught.value.message) == ("store.in_use", True)
        assert schema_of("desk.db") == 1
    finally:
        user.communicate("")
    assert upgrade(settings()).backup is not None


def test_a_migration_that_fails_leaves_the_file_and_names_the_backup(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import chainops.ops.upgrade as module

    def broken(path: str) -> Any:
        raise StoreError("no room", hint="Make room.", code="store.keep")

    monkeypatch.setattr(module, "migrate", broken)
    with pytest.raises(StoreError) as caught:
        upgrade(settings(), to=Path("b.tar.gz"))
    assert "chainops restore b.tar.gz" in (caught.value.hint or "")
    assert schema_of("desk.db") == 1


def test_the_command_checks_upgrades_and_says_what_it_did(site: Path) -> None:
    def run(*words: str) -> Any:
        return CliRunner().invoke(app, ["upgrade", *words])

    assert run("--check").exit_code == 1
    found = json.loads(run("--check", "--json").stdout)
    assert {each["path"]: each["older"] for each in found["files"]} == {"desk.db": True, "prompts.db": True}
    done = json.loads(run("--json", "--backup", "before.tar.gz").stdout)
    assert (done["schema"], done["backup"]) == (SCHEMA_VERSION, "before.tar.gz")
    assert run("--check").exit_code == 0
    assert "already" in run().stdout
    assert [state.schema for state in states(settings())] == [SCHEMA_VERSION] * 2
