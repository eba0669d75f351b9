"""Too little of everything: memory of a control group, room on the disk; and what is left behind in the end."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from box import USER, Box, Done, finish

TINY = Path(__file__).resolve().parents[3] / "recipes" / "tiny_model" / "support-desk-tiny.gguf"
APP = """
import time
from typing import TypedDict
from langgraph.graph import START, StateGraph

class State(TypedDict, total=False):
    text: str
    mb: int

def work(state):
    time.sleep(1 if "mb" in state else 0)  # so that the run stands in the file
    block = bytearray(state.get("mb", 0) << 20)
    for at in range(0, len(block), 4096):
        block[at] = 1
    return {"text": state["text"].upper()}

def graph():
    builder = StateGraph(State)
    builder.add_node("work", work)
    builder.add_edge(START, "work")
    return builder.compile(name="hungry")
"""


@pytest.fixture
def hungry(box: Box) -> str:
    folder = box.root / "apps" / "hungry"
    folder.mkdir(exist_ok=True)
    (folder / "app.py").write_text(APP)
    (folder / "chainops.toml").write_text('[pipeline]\nmiddleware = ["trace"]\n')
    return "/apps/hungry"


class Group:
    """A control group with a limit of memory."""

    def __init__(self, mb: int) -> None:
        own = {
            kind: path
            for _, kind, path in (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().split())
        }
        old = "memory" in own
        place = Path("/sys/fs/cgroup", "memory" if old else "", own["memory" if old else ""].strip("/"))
        self.path = place / f"chainops-walk-{os.getpid()}"
        self.path.mkdir()
        file = "memory.limit_in_bytes" if old else "memory.max"
        (self.path / file).write_text(str(mb << 20))

    @property
    def entered(self) -> list[str]:
        """The beginning of a command that runs in the group."""
        return ["sh", "-c", 'echo $$ > "$0"/cgroup.procs && exec "$@"', str(self.path)]

    def run(self, box: Box, *words: str, folder: str) -> Done:
        pipe = subprocess.PIPE
        environment = box.environment({})
        return finish(subprocess.Popen([*self.entered, *box.command(*words, folder=folder)], env=environment, text=True,
                                       stdin=pipe, stdout=pipe, stderr=pipe))  # fmt: skip


@pytest.fixture
def group() -> Iterator[Group]:
    try:
        group = Group(400)
    except OSError as error:
        pytest.skip(f"control groups of memory cannot be made here: {error}")
    yield group
    group.path.rmdir()


def test_in_a_group_of_400_mb_the_demo_runs(box: Box, group: Group) -> None:
    (box.root / "data" / "small").mkdir()
    os.chown(box.root / "data" / "small", USER, USER)
    done = group.run(box, "demo", "--yes", "--json", folder="/data/small")
    assert (done.code, json.loads(done.out.splitlines()[-1])["event"]) == (0, "done"), done.err


def test_whether_a_model_fits_is_computed_with_the_limit_of_the_group(
    binary: Path, group: Group, tmp_path: Path
) -> None:
    words = [str(binary), "model", "fit", str(TINY), "--no-speed", "--json"]
    place = {"PATH": os.environ["PATH"], "CHAINOPS_RUNTIME_DIR": str(tmp_path / "place")}
    done = subprocess.run([*group.entered, *words], cwd=tmp_path, env=place, capture_output=True, text=True)
    assert done.returncode == 0 and 0 < json.loads(done.stdout)["ram"] <= 400 << 20, done.stdout + done.stderr


def test_what_takes_more_than_its_group_has_is_killed_alone_and_named_at_the_next_start(
    box: Box, group: Group, hungry: str
) -> None:
    killed = group.run(box, "run", hungry, '{"text": "a", "mb": 900}', "--thread", "t-oom", folder="/data")
    assert killed.code not in (0, 2) and not killed.out
    after = box.run("run", hungry, '{"text": "b"}', folder="/data")
    assert after.objects()[0]["output"]["text"] == "B"
    assert "thread t-oom" in after.err
    assert box.run("db", "check").code == 0


def test_a_full_data_disk_stops_no_run_and_leaves_a_whole_file(box: Box, hungry: str) -> None:
    place = box.root / "full"
    place.mkdir()
    noise = random.Random(1)  # else it would fit, compressed
    lines = "".join(json.dumps({"text": f"{i} {noise.randbytes(20_000).hex()}"}) + "\n" for i in range(80))
    (box.root / "apps" / "lines").write_text(lines)
    root = box.root
    inside = f'unshare --root={root} --wd=/full --setuid={USER} --setgid={USER} "$@"'
    script = (
        f"mount -t tmpfs -o size=1m,uid={USER},gid={USER},mode=700 tmpfs {place} && "
        f'printf \'{{"text": "while there is room"}}\n\' | {inside} > /dev/null && '
        f"{inside} < {root}/apps/lines; code=$?; "
        f"cp {place}/chainops.db* {root}/apps/; exit $code"
    )
    done = box.outside(script, ["/chainops", "run", hungry], {"CHAINOPS_RUNTIME_DIR": "/data/runtime"})
    assert (done.code, len(done.objects())) == (0, 80), done.err[-500:]
    assert all("output" in each for each in done.objects())
    assert "No room to write chainops.db. The run goes on" in done.err and "could not be stored" in done.err
    with closing(sqlite3.connect(box.root / "apps" / "chainops.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT count(*) FROM run").fetchone()[0] > 0


def test_everything_that_was_written_lies_in_the_data_directory(box: Box) -> None:
    """So that uninstalling is: remove the file, the runtime's folder, and the data directory if nobody wants it."""
    strange = []
    for folder in (box.root, box.root / "tmp", box.root / "dev" / "shm"):
        strange += [
            path for path in folder.iterdir() if path.lstat().st_uid == USER and path.name not in ("data", "tmp", "shm")
        ]
    assert strange == []
    assert not list(box.root.rglob("deviceid"))
