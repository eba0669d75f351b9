"""A clock that is set while a process runs: forward, back, and far back."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

# what the wall clock says, shifted by the seconds that a file holds; the steady clocks stay as they are
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long shift(void) {
    long seconds = 0;
    FILE *file = fopen(getenv("SHIFT"), "r");
    if (file && fscanf(file, "%ld", &seconds) != 1) seconds = 0;
    if (file) fclose(file);
    return seconds;
}

int clock_gettime(clockid_t which, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(which, now);
    if (which == CLOCK_REALTIME) now->tv_sec += shift();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int (*real)(struct timeval *, void *) = dlsym(RTLD_NEXT, "gettimeofday");
    int result = real(now, zone);
    now->tv_sec += shift();
    return result;
}

time_t time(time_t *to) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (to) *to = now.tv_sec;
    return now.tv_sec;
}
"""
APP = """
import asyncio, time
from typing import TypedDict
from langchain_core.messages import HumanMessage
from langgraph.graph import START, StateGraph
from chainops.testing import ScriptedModel

class State(TypedDict, total=False):
    text: str
    now: float

def model():
    return ScriptedModel([f"answer {i}" for i in range(50)])

def graph(chat):
    async def work(state):
        await asyncio.sleep(0.02)
        answer = await chat.ainvoke([HumanMessage(state["text"])])
        return {"text": answer.text, "now": time.time()}
    builder = StateGraph(State)
    builder.add_node("work", work)
    builder.add_edge(START, "work")
    return builder.compile(name="clock")
"""
SETTINGS = """
[pipeline]
middleware = ["trace", "limits", "cache", "retry"]
[cache]
ttl_s = 3600
[[limits.rules]]
name = "steady"
requests = 600
concurrent = 2
"""
HOUR, YEAR = 3600, 365 * 24 * 3600


class Desk:
    """``chainops run`` under a clock that can be set."""

    def __init__(self, folder: Path, clock: Path) -> None:
        self.folder, self.shift = folder, folder / "shift"
        self.set(0)
        (folder / "app.py").write_text(APP)
        (folder / "chainops.toml").write_text(SETTINGS)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "chainops", "run", "."], cwd=folder, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "LD_PRELOAD": str(clock), "SHIFT": str(self.shift)},
        )  # fmt: skip

    def set(self, seconds: int) -> None:
        part = self.shift.with_suffix(".part")
        part.write_text(str(seconds))
        part.replace(self.shift)

    def ask(self, text: str) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"text": text}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())  # type: ignore[no-any-return]


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    if sys.platform != "linux" or shutil.which("gcc") is None:
        pytest.skip("needs Linux and gcc, for a clock that can be set")
    source, clock = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text(CLOCK)
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", source, "-o", clock, "-ldl"], check=True)
    desk = Desk(tmp_path, clock)
    yield desk
    desk.process.kill()
    desk.process.wait()
    for stream in (desk.process.stdin, desk.process.stdout, desk.process.stderr):
        stream.close()


def test_a_clock_that_is_set_changes_time_stamps_and_stops_nothing(desk: Desk) -> None:
    first = desk.ask("a")
    began = time.monotonic()
    seen = []
    for jump in (-HOUR, HOUR, -YEAR, 2 * YEAR, 0):
        desk.set(jump)
        answer = desk.ask(f"b{jump}")
        assert abs(answer["output"]["now"] - (time.time() + jump)) < 60, "the clock was not set"
        seen.append(answer["output"]["text"])
    assert time.monotonic() - began < 30, "something waited for the wall clock"
    assert len({first["output"]["text"], *seen}) == 6
    assert desk.process.stdin is not None
    desk.process.stdin.close()
    assert desk.process.wait(30) == 0
    with closing(sqlite3.connect(desk.folder / "chainops.db")) as connection:
        rows = connection.execute("SELECT start_ns, end_ns, status FROM run").fetchall()
        spans = connection.execute("SELECT end_ns - start_ns FROM span").fetchall()
    assert [row[2] for row in rows] == ["ok"] * 6
    assert all(0 <= row[1] - row[0] < 30e9 for row in rows), "a run that took no time, or a year"
    assert all(0 <= row[0] < 30e9 for row in spans)


def test_a_clock_that_is_set_during_a_run_gives_it_no_negative_duration(desk: Desk) -> None:
    desk.ask("warm")
    assert desk.process.stdin is not None and desk.process.stdout is not None
    for number in range(40):
        desk.process.stdin.write(json.dumps({"text": f"c{number}"}) + "\n")
    desk.process.stdin.flush()
    for number in range(40):
        desk.set((-1) ** number * HOUR)
        assert "output" in json.loads(desk.process.stdout.readline())
    desk.process.stdin.close()
    assert desk.process.wait(30) == 0
    with closing(sqlite3.connect(desk.folder / "chainops.db")) as connection:
        durations = [row[0] for row in connection.execute("SELECT end_ns - start_ns FROM span")]
    assert len(durations) >= 80 and all(0 <= each < 30e9 for each in durations), sorted(durations)[:3]
