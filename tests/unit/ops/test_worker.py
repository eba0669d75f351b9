"""chainops run: inputs as lines, drain on SIGTERM, what a killed process left, limits."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

APP = """
import asyncio, os, time
from pathlib import Path
from typing import TypedDict
from langgraph.graph import START, StateGraph

class State(TypedDict, total=False):
    wait: float
    block: float
    text: str

async def work(state):
    if "fail" in state.get("text", ""):
        raise ValueError("no such thing")
    Path("begun").write_text(str(os.getpid()))
    time.sleep(state.get("block", 0))
    await asyncio.sleep(state.get("wait", 0))
    return {"text": state.get("text", "") + "!"}

def graph():
    builder = StateGraph(State)
    builder.add_node("work", work)
    builder.add_edge(START, "work")
    return builder.compile(name="worker")
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "app.py").write_text(APP)
    (tmp_path / "app" / "chainops.toml").write_text('[trace]\npath = "t.db"\n')
    return tmp_path


class Running:
    """A ``chainops run`` with its streams."""

    def __init__(self, site: Path, *words: str) -> None:
        self.site = site
        self.process = subprocess.Popen(
            [sys.executable, "-m", "chainops", "run", "app", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=site,
        )  # fmt: skip

    def send(self, value: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(value).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def until_begun(self) -> None:
        deadline = time.monotonic() + 60
        while not (self.site / "begun").exists():
            assert time.monotonic() < deadline and self.process.poll() is None, "it never began"
            time.sleep(0.01)

    def end(self) -> tuple[str, str]:
        out, err = self.process.communicate(timeout=60)
        return out.decode(), err.decode()


@pytest.fixture
def start(site: Path) -> Iterator[Any]:
    started: list[Running] = []

    def start(*words: str) -> Running:
        started.append(Running(site, *words))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.communicate()


def statuses(site: Path) -> list[str]:
    with closing(sqlite3.connect(site / "t.db")) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name='run'").fetchone():
            return []  # it is being made
        return [row[0] for row in connection.execute("SELECT status FROM run ORDER BY id")]


def test_one_input_gives_one_answer_and_a_failure_is_exit_code_2(start: Any, site: Path) -> None:
    run = start('{"text": "hi"}', "--thread", "t1")
    out, err = run.end()
    assert (json.loads(out), run.process.returncode) == ({"line": 1, "thread": "t1", "output": {"text": "hi!"}}, 0), err
    run = start('{"text": "fail"}')
    assert json.loads(run.end()[0])["error"]["message"] == "no such thing"
    assert run.process.returncode == 2
    assert statuses(site) == ["ok", "error"]


def test_each_line_is_one_input_and_a_wrong_one_stops_nothing(start: Any) -> None:
    run = start()
    run.send({"text": "a"})
    assert run.answer()["output"] == {"text": "a!"}
    run.process.stdin.write(b"no json\n\n")
    run.process.stdin.flush()
    assert run.answer()["error"]["code"] == "call.input"
    run.send({"thread": "t7", "input": {"text": "b"}})
    assert run.answer() == {"line": 4, "thread": "t7", "output": {"text": "b!"}}
    run.end()
    assert run.process.returncode == 0


def test_on_sigterm_what_runs_is_finished_and_written_and_the_exit_code_is_0(start: Any, site: Path) -> None:
    run = start()
    run.send({"text": "a", "wait": 0.5})
    run.send({"text": "never begun"})
    run.until_begun()
    run.process.send_signal(signal.SIGTERM)
    out, err = run.end()
    assert [json.loads(line).get("output") for line in out.splitlines()] == [{"wait": 0.5, "text": "a!"}]
    assert run.process.returncode == 0
    assert "Stopped by SIGTERM" in err
    assert statuses(site) == ["ok"]


def test_an_idle_process_ends_on_sigterm_at_once(start: Any) -> None:
    run = start()
    run.send({"text": "a"})
    assert run.answer()["output"]["text"] == "a!"
    began = time.monotonic()
    run.process.send_signal(signal.SIGTERM)
    run.end()
    assert run.process.returncode == 0
    assert time.monotonic() - began < 10  # and not after the 25 seconds of grace


@pytest.mark.parametrize("how", ["wait", "block"])
def test_what_outlasts_the_grace_time_is_cancelled_and_says_so(start: Any, site: Path, how: str) -> None:
    run = start("--grace", "0.2")
    run.send({"text": "a", how: 30 if how == "wait" else 1.5})
    run.until_begun()
    run.process.send_signal(signal.SIGTERM)
    out, err = run.end()
    assert run.process.returncode == 0
    if how == "wait":
        assert json.loads(out)["error"]["code"] == "call.stop"
        assert "1 cancelled" in err
        assert statuses(site) != ["open"]


def test_the_next_start_says_what_a_killed_process_left_and_marks_it(start: Any, site: Path) -> None:
    run = start("--thread", "t9")
    run.send({"text": "a", "wait": 60})
    run.until_begun()
    deadline = time.monotonic() + 30
    while "open" not in (statuses(site) if (site / "t.db").exists() else []):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.process.kill()
    run.process.communicate()
    again = start('{"text": "b"}')
    out, err = again.end()
    assert f"of worker, thread t9: process {run.process.pid} died" in err
    assert json.loads(out)["output"]["text"] == "b!"
    assert statuses(site) == ["interrupted", "ok"]
    assert "interrupted:" not in start('{"text": "c"}').end()[1]


def test_the_table_resources_limits_processors_memory_and_priority(site: Path) -> None:
    (site / "app" / "app.py").write_text(
        APP.replace('"!"}', "str((len(os.sched_getaffinity(0)), os.nice(0)))}").replace(
            'Path("begun")', 'bytearray(2_000_000_000) if state.get("text") == "much" else None; Path("begun")'
        )
    )
    (site / "app" / "chainops.toml").write_text("[resources]\nthreads = 1\nmemory_mb = 1024\nnice = 5\n")
    script = [sys.executable, "-m", "chainops", "run", "app"]
    fine = subprocess.run([*script, '{"text": ""}'], cwd=site, capture_output=True, text=True)
    assert json.loads(fine.stdout)["output"]["text"] == f"(1, {max(5, os.getpriority(os.PRIO_PROCESS, 0))})", (
        fine.stderr
    )
    much = subprocess.run([*script, '{"text": "much"}'], cwd=site, capture_output=True, text=True)
    assert json.loads(much.stdout)["error"]["code"] == "MemoryError"
    assert much.returncode == 2


def test_a_function_that_needs_a_model_gets_the_one_beside_it(start: Any, site: Path) -> None:
    app = site / "app" / "app.py"
    app.write_text(
        "from chainops import App\nfrom chainops.testing import ScriptedModel\n"
        "from langgraph.graph import START, MessagesState, StateGraph\n"
        "app = App('app/chainops.toml')\n"  # no graph: the next name counts
        "def model():\n    return ScriptedModel(['Hello.'])\n"
        "def graph(chat, memory=None):\n"
        "    builder = StateGraph(MessagesState)\n"
        "    builder.add_node('a', lambda state: {'messages': [chat.invoke(state['messages'])]})\n"
        "    builder.add_edge(START, 'a')\n    return builder.compile()\n"
    )
    out, err = start("--message", "Hi").end()
    assert json.loads(out)["output"]["messages"][-1]["content"] == "Hello.", err
