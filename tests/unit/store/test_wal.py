"""Switching a file to write-ahead logging."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from chainops.store.wal import use_wal

OPEN = """
import sqlite3, sys
from chainops.store.wal import use_wal
sys.stdin.readline()
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
use_wal(connection)
print(connection.execute("PRAGMA journal_mode").fetchone()[0])
"""


def test_processes_that_make_a_file_at_once_all_get_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, str(tmp_path / "new.db")]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    modes = []
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in started:
        modes.append(process.communicate(timeout=60)[0].strip())
    assert modes == ["wal"] * 4


def test_a_file_that_another_connection_holds_is_waited_for(tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "held.db", isolation_level=None, check_same_thread=False)
    holder.execute("CREATE TABLE t (x)")
    holder.execute("BEGIN EXCLUSIVE")
    waiting = sqlite3.connect(tmp_path / "held.db", isolation_level=None, timeout=0)
    release = threading.Timer(0.1, lambda: holder.execute("COMMIT"))
    release.start()
    use_wal(waiting)
    release.join()
    assert waiting.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    waiting.close()
    holder.close()


def test_a_file_that_stays_locked_is_an_error_after_the_patience(tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "held.db", isolation_level=None)
    holder.execute("CREATE TABLE t (x)")
    holder.execute("BEGIN EXCLUSIVE")
    waiting = sqlite3.connect(tmp_path / "held.db", isolation_level=None, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        use_wal(waiting, patience_s=0.05)
    waiting.close()
    holder.close()
