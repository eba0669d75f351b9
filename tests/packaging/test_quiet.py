"""Nothing phones home: what a run connects to, as the kernel saw it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chainops.quiet import VARIABLES

LOOPBACK = re.compile(r"127\.\d+\.\d+\.\d+|::1|::ffff:127\.\d+\.\d+\.\d+")


def strangers(trace: Path) -> list[str]:
    """Attempts to reach anything but this machine: connects and sends to IP addresses, lines of ``strace -f``."""
    found = []
    for line in trace.read_text(errors="replace").splitlines():
        address = re.search(r'sin_addr=inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', line)
        if address and re.search(r"\b(connect|sendto|sendmsg|sendmmsg)\(", line):
            host = address[1] or address[2]
            if not LOOPBACK.fullmatch(host):
                found.append(line)
    return found


def traced(tmp_path: Path, *command: str) -> Path:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    trace = tmp_path / "strace.txt"
    words = [strace, "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace), *command]
    # what silences packages by itself: our own variables, those of the test run, and those of CI
    silent = {*VARIABLES, "HF_HUB_OFFLINE", "LANGSMITH_TRACING", "CI", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST"}
    environment = {key: value for key, value in os.environ.items() if key not in silent}
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=environment)
    if "PTRACE" in done.stderr and "not permitted" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr[-2000:]
    return trace


def test_the_demo_connects_to_nothing_but_this_machine(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python (the [llama] extra)")
    trace = traced(tmp_path, sys.executable, "-m", "chainops", "demo", "--yes", "--json")
    assert strangers(trace) == []


def test_loading_rails_connects_to_nothing_and_writes_nothing_home(tmp_path: Path) -> None:
    pytest.importorskip("nemoguardrails", reason="needs nemoguardrails (the [rails] extra)")
    code = (
        "import os; os.environ['HOME'] = os.getcwd()\n"
        "import chainops\n"
        "from nemoguardrails import LLMRails, RailsConfig\n"
        "LLMRails(RailsConfig.from_content(yaml_content='models: []'))\n"
        "import time; time.sleep(1)\n"  # a report would go out in the background
    )
    trace = traced(tmp_path, sys.executable, "-c", code)
    assert strangers(trace) == []
    assert not list(tmp_path.rglob("usage_stats.json"))


@pytest.mark.parametrize("how", ["embed", "session"])
def test_the_embedder_connects_to_nothing_and_writes_nothing_home(tmp_path: Path, how: str) -> None:
    pytest.importorskip("onnxruntime", reason="needs onnxruntime (the [onnx] extra)")
    from chainops.engines.embeddings.place import MODEL, default_place

    if not (default_place() / MODEL).is_file():
        pytest.skip("needs the embedder's model file: make embedder")
    (tmp_path / "home").mkdir()
    begin = "import os, time, sys; os.environ['HOME'] = os.getcwd() + '/home'; import chainops\n"
    embed = "import asyncio; from chainops.engines.embeddings import embedder; asyncio.run(embedder().embed(['a']))\n"
    session = "import onnxruntime, pathlib; onnxruntime.InferenceSession(pathlib.Path(sys.argv[1]) / 'model.onnx')\n"
    code = begin + (embed if how == "embed" else session) + "time.sleep(1)\n"  # a report goes out in the background
    trace = traced(tmp_path, sys.executable, "-c", code, str(default_place()))
    assert strangers(trace) == []
    assert [path.name for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


def test_an_attempt_to_reach_another_machine_would_be_found(tmp_path: Path) -> None:
    code = (
        "import socket; s = socket.socket(); s.settimeout(0.1)\n"
        "try: s.connect(('192.0.2.1', 9))\n"
        "except OSError: pass\n"
        "t = socket.socket(); t.settimeout(0.1)\n"
        "try: t.connect(('127.0.0.1', 9))\n"
        "except OSError: pass\n"
    )
    (line,) = strangers(traced(tmp_path, sys.executable, "-c", code))
    assert "192.0.2.1" in line


def test_telemetry_is_off_unless_somebody_switches_it_on() -> None:
    code = "import os, chainops; print([os.environ.get(name) for name in ('DO_NOT_TRACK', 'HF_HUB_DISABLE_TELEMETRY')])"
    clean = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    for environment, shown in ((clean, "['1', '1']"), ({**clean, "DO_NOT_TRACK": "0"}, "['0', '1']")):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.stdout.strip() == shown, done.stderr
