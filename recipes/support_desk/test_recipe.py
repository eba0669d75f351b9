"""The flagship recipe on the shipped model, and ``chainops demo`` as a person or a script runs it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent / "tiny_model" / "support-desk-tiny.gguf"

pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
pytestmark = [
    pytest.mark.llama,
    pytest.mark.skipif(not MODEL.is_file(), reason=f"{MODEL.name} is not there"),
]


def run_demo(cwd: Path, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chainops", "demo", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        check=False,
        **options,
    )


def events_of(finished: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert finished.returncode == 0, finished.stderr
    return [json.loads(line) for line in finished.stdout.splitlines()]


def test_the_demo_answers_three_requests_pays_back_and_leaves_a_whole_trace(tmp_path: Path) -> None:
    events = events_of(run_demo(tmp_path, "--yes", "--json"))
    assert [e["text"] for e in events if e["event"] == "answer"] == [
        "Shipping is free above fifty euros. Below that it costs four euros and ninety cents.",
        "Order 67-26 is shipped: camera to Oslo on Monday.",
        "Your refund of 35 euros for order 41-83 is approved.",
    ]
    assert [e["topic"] for e in events if e["event"] == "topic"] == ["faq", "order", "refund"]
    assert [e["name"] for e in events if e["event"] == "tool_call"] == ["get_order", "get_order", "create_refund"]
    streamed = "".join(e["text"] for e in events if e["event"] == "token")
    assert streamed == "".join(e["text"] for e in events if e["event"] == "answer")
    with sqlite3.connect(tmp_path / "support_desk.db") as db:
        assert db.execute("SELECT * FROM refunds").fetchall() == [("41-83", 35)]
    with sqlite3.connect(tmp_path / "chainops.db") as db:
        kinds = dict(db.execute("SELECT kind, count(*) FROM span GROUP BY kind").fetchall())
        statuses = {status for (status,) in db.execute("SELECT status FROM span")}
        runs = db.execute("SELECT status FROM run ORDER BY id").fetchall()
    assert kinds == {"run": 4, "node": 14, "model": 9, "tool": 3, "route": 6}
    assert statuses == {"ok", "paused"}
    assert [status for (status,) in runs] == ["ok", "ok", "paused", "ok"]
    assert events[-1]["spans"] == sum(kinds.values())


def test_an_order_that_does_not_exist_is_said_to_be_missing(tmp_path: Path) -> None:
    events = events_of(run_demo(tmp_path, "--json", "Where is my order 99-98?"))
    assert [e["text"] for e in events if e["event"] == "answer"] == ["Order 99-98 was not found."]


def test_a_refund_that_nobody_approves_is_not_paid(tmp_path: Path) -> None:
    events = events_of(run_demo(tmp_path, "--json", "I want a refund for order 41-83."))
    assert [e["answer"] for e in events if e["event"] == "approval"] == ["no"]
    with sqlite3.connect(tmp_path / "support_desk.db") as db:
        assert db.execute("SELECT count(*) FROM refunds").fetchone() == (0,)


def test_the_demo_can_run_twice_in_one_place_and_shows_its_trace_to_a_person(tmp_path: Path) -> None:
    for _ in range(2):
        finished = run_demo(tmp_path, "--yes")
        assert finished.returncode == 0, finished.stderr
    out = finished.stdout
    assert "desk  Shipping is free above fifty euros." in out
    assert "model support-desk-tiny" in out
    assert "Try next:" in out
    assert "chainops trace list" in out
    listed = subprocess.run(
        [sys.executable, "-m", "chainops", "trace", "list", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(json.loads(listed.stdout)) == 8


def test_ctrl_c_leaves_a_consistent_trace_with_the_span_that_was_open(tmp_path: Path) -> None:
    questions = ["Where is my order 67-26?"] * 200
    process = subprocess.Popen(
        [sys.executable, "-m", "chainops", "demo", "--json", *questions],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    asked = 0
    for line in process.stdout:
        asked += json.loads(line)["event"] == "question"
        if asked == 3:
            process.send_signal(signal.SIGINT)
            break
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert json.loads(rest.splitlines()[-1])["event"] == "stopped"
    assert "Traceback" not in errors
    with sqlite3.connect(tmp_path / "chainops.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        statuses = [status for (status,) in db.execute("SELECT status FROM run ORDER BY id")]
        open_spans = db.execute("SELECT count(*) FROM span WHERE status IN ('cancelled', 'interrupted')").fetchone()
    assert statuses[:2] == ["ok", "ok"]
    assert statuses[-1] in ("cancelled", "interrupted")
    assert open_spans[0] >= 1


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    finished = run_demo(tmp_path, "--yes", "--db", str(tmp_path / "file" / "chainops.db"))
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: Cannot write in")
    assert "hint: Change to a directory that you can write in" in finished.stderr


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can mount a read-only directory here")
def test_a_read_only_working_directory_is_a_clear_error(tmp_path: Path) -> None:
    script = (
        f"mount -t tmpfs -o ro none {tmp_path} && cd {tmp_path} && "
        f"{sys.executable} -m chainops demo --yes; code=$?; cd /; exit $code"
    )
    probe = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("this machine allows no mount namespaces")
    finished = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.returncode == 2, finished.stderr
    assert "error: Cannot write in" in finished.stderr


def test_a_model_file_that_is_none_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"no model")
    finished = run_demo(tmp_path, "--yes", "--model", "bad.gguf")
    assert finished.returncode == 2
    assert finished.stderr.splitlines()[-2].startswith("error: ")
    assert "Traceback" not in finished.stderr
