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


def test_the_binary_connects_to_nothing(binary: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace)]
    try:
        done = subprocess.run(
            [*command, str(binary), "demo", "--yes", "--json"], cwd=tmp_path, capture_output=True, text=True,
            env={**os.environ, **inside(tmp_path / "place")},
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("needs strace")
    assert done.returncode == 0, done.stderr
    assert "sin_addr" not in trace.read_text() and "AF_INET6" not in trace.read_text()
