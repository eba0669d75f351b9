"""The file of the semantic cache when processes die and when several write."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from chainops.store.semantic import SemanticFile

WRITER = """
import sys
import numpy as np
from chainops.store.semantic import SemanticEntry, SemanticFile
store = SemanticFile(sys.argv[1])
vector = np.ones(8, np.float16)
count = int(sys.argv[2])
for i in range(count):
    entry = SemanticEntry(0, f"{sys.argv[3]} {i}", vector, b'"answer"', vector, 1.0, None, 1.0, 1, 0)
    while store.add("p", entry, ["t"], seen=store.version()[1], most=100_000) is None:
        pass
    print(i, flush=True)
"""


def writer(directory: Path, count: int, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(directory), str(count), name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_kill_9_during_writes_leaves_a_file_with_every_answer_that_was_kept(tmp_path: Path) -> None:
    process = writer(tmp_path, 100_000, "q")
    assert process.stdout is not None
    last = -1
    while last < 50:
        last = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    questions = {entry.question for entry in SemanticFile(tmp_path).entries("p")}
    assert {f"q {i}" for i in range(last + 1)} <= questions


def test_four_processes_write_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    processes = [writer(tmp_path, 40, f"w{i}") for i in range(4)]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0] * 4
    store = SemanticFile(tmp_path)
    assert len({entry.question for entry in store.entries("p")}) == 160
    assert store.invalidate(["t"]) == 160 and store.entries("p") == []
