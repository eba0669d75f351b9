"""chainops service: files for systemd and containers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chainops.cli import app


def service(*words: str) -> Any:
    result = CliRunner().invoke(app, ["service", *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def units(tmp_path: Path) -> Path:
    folder = tmp_path / "units"
    words = ("--app", str(tmp_path), "--name", "shop", "--program", sys.executable, "--json")
    assert json.loads(service(str(folder), *words).stdout)["files"] == sorted(path.name for path in folder.iterdir())
    return folder


def test_every_mark_is_filled_in_and_the_settings_say_which_traces_are_pruned(tmp_path: Path) -> None:
    (tmp_path / "chainops.toml").write_text('[trace]\npath = "shop.db"\n')
    service(str(tmp_path / "units"), "--app", str(tmp_path), "--name", "shop")
    texts = {path.name: path.read_text() for path in (tmp_path / "units").iterdir()}
    assert not [name for name, text in texts.items() if "{{" in text or "desk" in re.sub("-v desk:", "", text)]
    assert "trace prune --days 90 --db shop.db" in texts["chainops-shop-nightly.service"]
    assert f"run {tmp_path} --grace 25" in texts["chainops-shop@.service"]


def test_the_units_give_more_time_to_stop_than_the_grace_time(units: Path) -> None:
    text = (units / "chainops-shop@.service").read_text()
    grace, stop = re.search(r"--grace (\d+)", text), re.search(r"TimeoutStopSec=(\d+)", text)
    assert grace and stop and int(stop[1]) >= int(grace[1]) + 5


@pytest.mark.parametrize("unit", ["chainops-shop@.service", "chainops-shop-nightly.service", "chainops-shop.socket"])
def test_systemd_finds_no_fault_in_them(units: Path, unit: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    done = subprocess.run(["systemd-analyze", "verify", units / unit], capture_output=True, text=True)
    found = [line for line in done.stderr.splitlines() if "chainops-shop" in line]
    assert (done.returncode, found) == (0, []), done.stderr
    if unit.endswith(".service"):
        rated = subprocess.run(["systemd-analyze", "security", "--offline=true", "--no-pager", units / unit],
                               capture_output=True, text=True)  # fmt: skip
        level = re.search(r"Overall exposure level.*: ([0-9.]+)", rated.stdout)
        assert level and float(level[1]) <= 0.7, rated.stdout[-500:]


@pytest.mark.parametrize(
    "words",
    [("--app", "relative"), ("--app", "/with space"), ("--app", "/x", "--name", "No"), ("--app", "/x%i")],
    ids=" ".join,
)
def test_what_cannot_stand_in_a_unit_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    from chainops.errors import SetupError

    with pytest.raises(SetupError) as caught:
        service(str(tmp_path / "units"), *words)
    assert caught.value.code == "setup.option" and not (tmp_path / "units").exists()


def test_files_that_are_there_are_not_replaced(units: Path) -> None:
    from chainops.errors import SetupError

    with pytest.raises(SetupError) as caught:
        service(str(units), "--app", "/x")
    assert caught.value.code == "setup.directory"
