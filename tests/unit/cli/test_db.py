import json
import sqlite3

import pytest

from chainops.cli.db import app
from chainops.errors import StoreError
from chainops.store.reader import Reader
from chainops.store.schema import SCHEMA_VERSION


def test_upgrade_makes_a_file_and_says_so_once(cli, path):
    assert json.loads(cli(app, "upgrade", "--json").stdout) == {"db": str(path), "from": 0, "to": SCHEMA_VERSION}
    assert "already" in cli(app, "upgrade").stdout


def test_upgrade_where_no_file_can_be_is_a_clear_error(cli, tmp_path):
    with pytest.raises(StoreError) as caught:
        cli(app, "upgrade", db=tmp_path / "no" / "trace.db")
    assert caught.value.code == "store.open"


def test_check_counts_and_finds_nothing_wrong(store, cli):
    store.example()
    report = json.loads(cli(app, "check", "--json").stdout)
    assert (report["problems"], report["runs"], report["spans"], report["dropped"]) == ([], 1, 5, 0)


def test_check_says_no_to_a_damaged_file(store, cli, path):
    store.example()
    store.writer.close()
    connection = sqlite3.connect(path, isolation_level=None)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name='span_run'").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size + 8)
        file.write(b"\xff" * 200)
    result = cli(app, "check")
    assert result.exit_code == 1
    assert "damaged" in result.stdout


def test_backup_copies_a_file_that_is_being_written_to(store, cli, tmp_path):
    store.example()
    store.span(store.run("open"), name="still running", status="open")
    store.writer.flush()
    copy = tmp_path / "copy.db"
    size = json.loads(cli(app, "backup", copy, "--json").stdout)["bytes"]
    assert size == copy.stat().st_size
    assert not list(tmp_path.glob("*.part*"))
    with Reader(copy) as reader:
        assert {run.run_id for run in reader.runs()} == {"open", "0198aaaa-0000-7000-8000-000000000001"}


def test_backup_never_replaces_a_file_unasked(store, cli, tmp_path):
    store.example()
    copy = tmp_path / "copy.db"
    copy.write_text("mine")
    with pytest.raises(StoreError) as caught:
        cli(app, "backup", copy)
    assert caught.value.code == "store.exists"
    assert copy.read_text() == "mine"
    cli(app, "backup", copy, "--force")
    with Reader(copy) as reader:
        assert len(reader.runs()) == 1


def test_vacuum_gives_room_back(store, cli, path):
    run = store.run("r")
    for i in range(300):
        store.span(run, input={"text": f"{i} " * 900})
    store.writer.close()
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM span")
    connection.commit()
    connection.close()
    report = json.loads(cli(app, "vacuum", "--json").stdout)
    assert report["bytes_after"] < report["bytes_before"] / 2
    assert json.loads(cli(app, "check", "--json").stdout)["problems"] == []


@pytest.mark.parametrize("words", [["check"], ["vacuum"], ["backup", "copy.db"]], ids=lambda words: words[0])
def test_commands_on_a_missing_file_make_none(cli, path, words):
    with pytest.raises(StoreError) as caught:
        cli(app, *words)
    assert caught.value.code == "store.missing"
    assert not path.exists()
