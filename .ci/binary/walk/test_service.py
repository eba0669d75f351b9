"""The units that ``chainops service`` writes, under a real systemd, with all of their hardening."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import Machine

APP = """
import asyncio, os, socket
from langchain_core.messages import SystemMessage
from langgraph.graph import START, MessagesState, StateGraph
from chainops.engines.llama import ChatLlama
from chainops.store.shipped import shipped

class State(MessagesState, total=False):
    wait: float
    tried: str

def model():
    return ChatLlama(model_path=str(shipped("recipes") / "tiny_model" / "support-desk-tiny.gguf"))

def graph(chat):
    async def answer(state):
        await asyncio.sleep(state.get("wait", 0))
        tried = []
        for name, attempt in (("network", lambda: socket.create_connection(("192.0.2.1", 9), 1)),
                              ("write", lambda: open("/etc/chainops/x", "w")), ("home", lambda: os.listdir("/root")),
                              ("program", lambda: os.execv("/bin/true", ["true"]))):
            try:
                attempt()
                tried.append(name)
            except OSError:
                pass
        system = SystemMessage("You are the support desk assistant.")
        return {"messages": [await chat.ainvoke([system, *state["messages"]])], "tried": ",".join(tried)}
    builder = StateGraph(State)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return builder.compile(name="desk")
"""
SETTINGS = '[pipeline]\nmiddleware = ["trace", "rails"]\n[rails]\njailbreak = true\n[resources]\nnice = 7\n'
ASK = """
import json, socket, subprocess, sys, time
s = socket.socket(socket.AF_UNIX); s.connect("/run/chainops-desk.sock"); answers = s.makefile()
def ask(**more):
    s.sendall(json.dumps({"messages": [["user", "How much is shipping?"]], **more}).encode() + b"\\n")
ask(); print(answers.readline(), end="")
if "stop" in sys.argv:
    ask(wait=1.5); time.sleep(0.5)
    subprocess.run(["systemctl", "stop", "chainops-desk@*"], check=True)
else:
    s.shutdown(socket.SHUT_WR)
print(answers.read(), end="")
"""


@pytest.fixture(scope="module")
def machine(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if not Path("/lib/systemd/systemd").exists() or not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd")
    try:
        machine = Machine(tmp_path_factory.mktemp("machine"))
    except OSError as error:
        pytest.skip(str(error))
    try:
        shutil.copy(binary, machine.root / "usr/local/bin/chainops")
        app = machine.root / "etc/chainops/desk"
        app.mkdir(parents=True)
        (app / "app.py").write_text(APP)
        (app / "chainops.toml").write_text(SETTINGS)
        (machine.root / "srv/ask.py").write_text(ASK)
        as_root = {"CHAINOPS_RUNTIME_DIR": "/opt/chainops"}
        for words in (
            ("sh", "-c", "umask 077 && chainops --version"),
            ("chainops", "service", "/srv/units", "--app", "/etc/chainops/desk"),
            ("sh", "-c", "cp /srv/units/*.service /srv/units/*.socket /srv/units/*.timer /etc/systemd/system/"),
            ("groupadd", "--system", "chainops-desk-users"),
            ("systemctl", "daemon-reload"),
            ("systemctl", "enable", "--now", "chainops-desk.socket", "chainops-desk-nightly.timer"),
        ):
            done = machine.run(*words, **as_root)
            assert done.returncode == 0, (words, done.stderr)
        yield machine
    finally:
        machine.end()


def asked(machine: Machine, *words: str) -> list[dict[str, object]]:
    done = machine.run("python3", "/srv/ask.py", *words)
    journal = machine.run("journalctl", "--no-pager", "-n", "20").stdout
    assert done.returncode == 0, done.stderr + journal
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_connection_is_answered_by_a_model_behind_rails_and_may_do_nothing_else(machine: Machine) -> None:
    (answer,) = asked(machine)
    output = answer["output"]
    assert "four euros" in output["messages"][-1]["content"], answer  # type: ignore[index]
    assert output["tried"] == "", "the sandbox let something through"  # type: ignore[index]
    data = machine.root / "var/lib/private/chainops-desk"
    assert (data / "chainops.db").stat().st_uid not in (0, 1000)
    assert data.stat().st_mode & 0o077 == 0


def test_stopping_the_service_lets_the_running_input_finish(machine: Machine) -> None:
    first, second = asked(machine, "stop")
    assert (first["line"], second["line"], "error" in second) == (1, 2, False)
    journal = machine.run("journalctl", "--no-pager", "-t", "chainops-desk").stdout
    assert "Stopped by SIGTERM: what ran is finished and written" in journal
    failed = machine.run("systemctl", "list-units", "--failed", "--no-legend", "chainops*").stdout
    assert failed.strip() == ""


def test_the_nightly_unit_makes_a_backup(machine: Machine) -> None:
    done = machine.run("systemctl", "start", "chainops-desk-nightly.service")
    assert done.returncode == 0, machine.run("journalctl", "--no-pager", "-n", "20").stdout
    backup = "/var/lib/private/chainops-desk/nightly.tar.gz"
    check = machine.run("chainops", "restore", backup, "--check", CHAINOPS_RUNTIME_DIR="/opt/chainops")
    assert check.returncode == 0, check.stderr
    assert "chainops-desk-nightly.timer" in machine.run("systemctl", "list-timers", "--no-pager").stdout


def test_systemd_rates_the_units_as_safe(machine: Machine) -> None:
    for unit in ("chainops-desk@.service", "chainops-desk-nightly.service"):
        path = str(machine.root / "srv/units" / unit)
        shown = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", path],
                               capture_output=True, text=True).stdout  # fmt: skip
        level = re.search(r"Overall exposure level.*: ([0-9.]+)", shown)
        assert level and float(level[1]) <= 1.0, shown[-300:]
