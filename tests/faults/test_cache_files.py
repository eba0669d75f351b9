"""The cache on disk under processes that are killed, and under several at once."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from chainops.store.cache.files import FileStore
from chainops.store.cache.tiers import read_entry

WORKER = Path(__file__).with_name("cache_worker.py")


def start(*words):
    return subprocess.Popen(
        [sys.executable, str(WORKER), *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("lines", [1, 4])
def test_a_cache_whose_writer_was_killed_can_be_read_and_written(tmp_path, lines):
    process = start("write", tmp_path / "cache")
    for _ in range(lines):
        acknowledged = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    store = FileStore(tmp_path / "cache")
    with sqlite3.connect(tmp_path / "cache" / "cache.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    keys = list(store.keys())
    assert len(keys) >= acknowledged
    for key in keys:
        number = int(key, 16)
        entry = read_entry(key, store.get(key))
        assert entry.value["message"].text == f"answer {number} " * 50
    by_tag = sum(int(key, 16) % 7 == 3 for key in keys)
    assert store.invalidate(["t3"]) == by_tag > 0
    assert store.size()[0] == len(keys) - by_tag
    store.close()


def test_four_processes_on_one_directory_lose_no_invalidation(tmp_path):
    readers = [start("read", tmp_path, 500) for _ in range(3)]
    changer = start("change", tmp_path, 150)
    ran = 0
    for process in (*readers, changer):
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        if process is not changer:
            ran += int(out.split()[1])
            assert "cache cannot be" not in err
    assert ran < 3 * 1500 / 2  # most were hits: it is not right by never serving anything
    store = FileStore(tmp_path / "cache")
    counted = {what: n for (_, _, what), n in store.counted().items()}
    assert counted["hit"] > 0
    assert all(orjson.loads(store.get(key)) for key in store.keys())  # noqa: SIM118 - a store is no dict
    store.close()
