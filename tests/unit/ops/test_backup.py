"""Backup and restore: consistent while others write, checked, all files or none."""

from __future__ import annotations

import gzip
import json
import sqlite3
import subprocess
import sys
import tarfile
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chainops.errors import StoreError
from chainops.ops.backup import MANIFEST, backup
from chainops.ops.restore import restore, verify
from chainops.settings import Settings, load_settings
from chainops.store import schema
from chainops.store.migrate import upgrade


def write(path: Path, rows: int) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS pair (a, b)")
        connection.executemany("INSERT INTO pair VALUES (?, ?)", [(i, i) for i in range(rows)])


def count(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM pair").fetchone()[0])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "chainops.toml").write_text('[trace]\npath = "desk.db"\n[prompts]\npath = "prompts.db"\n')
    upgrade("desk.db")
    write(Path("prompts.db"), 100)
    return folder


def settings() -> Settings:
    return load_settings(environ={})


def code_of(call: Any, *arguments: Any, **keywords: Any) -> str:
    with pytest.raises(StoreError) as caught:
        call(*arguments, **keywords)
    assert caught.value.hint
    return caught.value.code


def test_a_backup_brings_every_database_and_the_settings_back(site: Path, tmp_path: Path) -> None:
    report = backup(settings(), tmp_path / "b.tar.gz", settings_file=Path("chainops.toml"))
    assert [(kept.path, kept.schema) for kept in report.kept] == [
        ("desk.db", schema.SCHEMA_VERSION),
        ("prompts.db", None),
        ("chainops.toml", None),
    ]
    restored = restore(tmp_path / "b.tar.gz", tmp_path / "new")
    assert count(tmp_path / "new" / "prompts.db") == 100
    assert schema.open_reader(tmp_path / "new" / "desk.db").close() is None
    assert (tmp_path / "new" / "chainops.toml").read_bytes() == (site / "chainops.toml").read_bytes()
    assert (len(restored.placed), restored.set_aside) == (3, ())
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["chainops.toml", "desk.db", "prompts.db"]


def test_a_backup_made_while_others_write_is_consistent(site: Path, tmp_path: Path) -> None:
    stop = threading.Event()

    def keep_writing() -> None:
        with closing(sqlite3.connect("prompts.db", timeout=10)) as connection:
            while not stop.is_set():
                with connection:  # two rows at a time: an odd number would be half a transaction
                    connection.executemany("INSERT INTO pair VALUES (?, ?)", [(1, 1), (2, 2)])

    thread = threading.Thread(target=keep_writing)
    thread.start()
    try:
        reports = [backup(settings(), tmp_path / f"{i}.tar.gz") for i in range(3)]
    finally:
        stop.set()
        thread.join()
    for i, _ in enumerate(reports):
        restore(tmp_path / f"{i}.tar.gz", tmp_path / f"new{i}")
        assert count(tmp_path / f"new{i}" / "prompts.db") % 2 == 0


def test_caches_are_not_in_a_backup_and_it_says_so(site: Path, tmp_path: Path) -> None:
    Path("chainops-cache").mkdir()
    left = backup(settings(), tmp_path / "b.tar.gz").left_out
    assert {each.setting for each in left} >= {"cache.directory"}


def test_a_backup_without_any_database_or_over_another_is_refused(site: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    assert code_of(backup, settings(), tmp_path / "taken") == "store.exists"
    assert (tmp_path / "taken").read_text() == "mine"
    empty = load_settings(environ={}, trace={"path": "none.db"}, prompts={"path": "none.db"})
    assert code_of(backup, empty, tmp_path / "b.tar.gz") == "store.nothing"
    assert code_of(backup, settings(), tmp_path / "no" / "b.tar.gz") == "store.output"


def test_a_damaged_database_is_not_backed_up_as_if_it_were_whole(site: Path, tmp_path: Path) -> None:
    write(Path("prompts.db"), 5000)
    with Path("prompts.db").open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 4096)
    assert code_of(backup, settings(), tmp_path / "b.tar.gz") == "store.broken"
    assert not list(tmp_path.glob("b.tar.gz*"))


@pytest.mark.parametrize("how", ["cut", "flipped", "text", "missing"])
def test_a_damaged_backup_is_refused_as_a_whole(site: Path, tmp_path: Path, how: str) -> None:
    archive = tmp_path / "b.tar.gz"
    backup(settings(), archive)
    data = archive.read_bytes()
    if how == "cut":
        archive.write_bytes(data[: len(data) // 2])
    elif how == "flipped":
        plain = bytearray(gzip.decompress(data))
        plain[len(plain) // 3] ^= 1
        archive.write_bytes(gzip.compress(bytes(plain)))
    elif how == "text":
        archive.write_text("no archive")
    else:
        archive.unlink()
    wanted = "store.missing" if how == "missing" else "store.backup"
    assert code_of(verify, archive) == wanted
    assert code_of(restore, archive, tmp_path / "new") == wanted
    assert list((tmp_path / "new").iterdir()) == []


def test_a_backup_of_a_newer_chainops_is_refused(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backup(settings(), tmp_path / "b.tar.gz")
    monkeypatch.setattr("chainops.ops.restore.SCHEMA_VERSION", schema.SCHEMA_VERSION - 1)
    assert code_of(restore, tmp_path / "b.tar.gz", tmp_path / "new") == "store.newer"


def test_restoring_over_files_needs_force_and_keeps_them(site: Path, tmp_path: Path) -> None:
    backup(settings(), tmp_path / "b.tar.gz")
    write(Path("prompts.db"), 7)
    assert code_of(restore, tmp_path / "b.tar.gz", site) == "store.exists"
    assert count(site / "prompts.db") == 107
    report = restore(tmp_path / "b.tar.gz", site, force=True)
    assert count(site / "prompts.db") == 100
    (aside,) = [path for path in report.set_aside if path.name.startswith("prompts.db.")]
    assert count(aside) == 107


def test_a_file_that_a_living_process_uses_is_not_replaced(site: Path, tmp_path: Path) -> None:
    backup(settings(), tmp_path / "b.tar.gz")
    code = (
        "import sys; from chainops.store.file import TraceFile; from pathlib import Path\n"
        "file = TraceFile(Path('desk.db'), 5000, None); file.ensure(); print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=site)
    try:
        assert other.stdout is not None and other.stdout.readline() == b"open\n"
        assert code_of(restore, tmp_path / "b.tar.gz", site, force=True) == "store.in_use"
    finally:
        other.kill()
        other.communicate()
    assert len(restore(tmp_path / "b.tar.gz", site, force=True).placed) == 2


def test_files_outside_the_data_directory_go_there_only_when_asked(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "elsewhere" / "desk.db"
    outside.parent.mkdir()
    write(outside, 3)
    far = load_settings(environ={}, trace={"path": str(outside)}, prompts={"path": None})
    backup(far, tmp_path / "b.tar.gz")
    outside.unlink()
    assert code_of(restore, tmp_path / "b.tar.gz", tmp_path / "new") == "store.outside"
    restore(tmp_path / "b.tar.gz", tmp_path / "new", absolute=True)
    assert count(outside) == 3


def test_an_archive_cannot_write_outside_of_its_folder(site: Path, tmp_path: Path) -> None:
    archive = tmp_path / "b.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        (tmp_path / "evil").write_text("evil")
        tar.add(tmp_path / "evil", "../../evil-was-here")
    assert code_of(restore, archive, tmp_path / "deep" / "new") == "store.backup"
    assert not list(tmp_path.rglob("evil-was-here"))


def test_when_one_file_cannot_be_placed_none_is(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backup(settings(), tmp_path / "b.tar.gz")
    before = {name: (site / name).read_bytes() for name in ("desk.db", "prompts.db", "chainops.toml")}
    placed: list[Path] = []

    def fail_second(path: Path) -> None:
        placed.append(path)
        if len(placed) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("chainops.ops.restore._sync", fail_second)
    assert code_of(restore, tmp_path / "b.tar.gz", site, force=True) == "store.output"
    assert {name: (site / name).read_bytes() for name in before} == before
    assert not list(site.glob("*before-restore*"))


def test_the_manifest_is_json_that_a_script_can_read(site: Path, tmp_path: Path) -> None:
    backup(settings(), tmp_path / "b.tar.gz")
    with tarfile.open(tmp_path / "b.tar.gz") as tar:
        data = tar.extractfile(MANIFEST)
        assert data is not None
        manifest = json.load(data)
    assert manifest["files"][0]["settings"] == ["trace.path"]
    assert len(manifest["files"][0]["sha256"]) == 64
