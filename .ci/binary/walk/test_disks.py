"""Where the binary is unpacked: disks that are full, read-only or noexec, folders of others, damaged copies."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from box import Box

Outcome = tuple[int, str]


@pytest.fixture
def mounted(box: Box, binary: Path, tmp_path: Path) -> object:
    """Run ``--version`` with its runtime on a disk that is mounted with options."""
    place = tmp_path / "disk"
    place.mkdir()

    def run(options: str, before: str = "") -> Outcome:
        script = (
            f'mount -t tmpfs -o {options} tmpfs "$1" && chmod 700 "$1" && {before or "true"} && exec "$2" --version'
        )
        command = ["unshare", "--mount", "sh", "-c", script, "sh", str(place), str(binary)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **inside(place)})
        return done.returncode, done.stdout + done.stderr

    return run


def inside(place: Path) -> dict[str, str]:
    return {"CHAINOPS_RUNTIME_DIR": str(place)}


def run(binary: Path, place: Path) -> Outcome:
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, env={**os.environ, **inside(place)})
    return done.returncode, done.stdout + done.stderr


def test_a_disk_that_is_too_small_is_a_clear_error(mounted: object) -> None:
    code, text = mounted("size=50m")  # type: ignore[operator]
    assert code == 2
    assert "Not enough room" in text and "CHAINOPS_RUNTIME_DIR" in text


def test_a_disk_that_fills_up_meanwhile_is_a_clear_error_and_leaves_nothing(mounted: object) -> None:
    # room by the byte, but not for so many files
    code, text = mounted("size=900m,nr_inodes=500", 'trap "ls $1 | grep rt-; exit 9" EXIT')  # type: ignore[operator]
    assert code == 2
    assert "No space left on device" in text
    assert "rt-" not in text.rpartition("hint")[2]


def test_a_disk_that_allows_no_programs_is_a_clear_error(mounted: object) -> None:
    code, text = mounted("size=900m,noexec")  # type: ignore[operator]
    assert code == 2
    assert "noexec" in text and "CHAINOPS_RUNTIME_DIR" in text


def test_a_read_only_disk_serves_what_was_unpacked_before(mounted: object) -> None:
    before = '"$2" --version > /dev/null && mount -o remount,ro "$1"'
    code, text = mounted("size=900m", before)  # type: ignore[operator]
    assert (code, text.startswith("chainops ")) == (0, True), text


def test_a_folder_that_others_can_write_in_is_refused(binary: Path, tmp_path: Path) -> None:
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(0o777)
    code, text = run(binary, place)
    assert (code, "could be changed by others" in text) == (2, True)


@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_a_damaged_copy_is_refused_and_leaves_nothing(binary: Path, tmp_path: Path, how: str) -> None:
    data = bytearray(binary.read_bytes())
    if how == "flipped":
        data[len(data) // 2] ^= 1
    else:
        del data[-1000:]
    copy, place = tmp_path / "copy", tmp_path / "place"
    copy.write_bytes(data)
    copy.chmod(0o755)
    code, text = run(copy, place)
    assert code == 2
    assert "damaged" in text
    assert not list(place.glob("rt-*"))


GUARDED = """
from langgraph.graph import START, MessagesState, StateGraph
from chainops.testing import ScriptedModel

def graph():
    chat = ScriptedModel(["Fine."], repeat=True)
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [chat.invoke(state["messages"])]})
    builder.add_edge(START, "answer")
    return builder.compile(name="guarded")
"""
LAYERS = """
[pipeline]
middleware = ["trace", "rails", "semantic_cache"]
[rails]
config = "nemo"
jailbreak = true
toxicity = true
[nodes."answer"]
semantic_cache = "shadow"
"""
NEMO = "rails:\n  config: {regex_detection: {input: {patterns: [nothing]}}}\n  input: {flows: [regex check input]}\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.mark.parametrize(
    "words", [("demo", "--yes", "--json"), ("run", ".", "--message", "Hello"), ("doctor",), ("docs", "install")],
    ids=lambda words: words[0],
)  # fmt: skip
def test_the_binary_connects_to_nothing(binary: Path, place: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Not even where a network is: what the kernel saw, of every process and thread."""
    (tmp_path / "nemo").mkdir()
    for name, text in (("app.py", GUARDED), ("chainops.toml", LAYERS), ("nemo/config.yml", NEMO)):
        (tmp_path / name).write_text(text)
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace)]
    home = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), **inside(place)}
    try:
        done = subprocess.run([*command, str(binary), *words], cwd=tmp_path, capture_output=True, text=True, env=home)
    except FileNotFoundError:
        pytest.skip("needs strace")
    assert done.returncode == 0, done.stderr
    assert "sin_addr" not in trace.read_text() and "AF_INET6" not in trace.read_text()
    kept = {path.relative_to(tmp_path / "home").parts[:2] for path in (tmp_path / "home").rglob("*") if path.is_file()}
    assert kept <= {(".cache", "chainops")}
