"""``chainops plugin new``: from nothing to a package whose tests pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chainops.cli import main


def test_a_new_plugin_passes_its_own_tests_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["plugin", "new", "word_count", "--into", str(tmp_path)])
    assert done.value.code == 0
    folder = tmp_path / "chainops-word-count"
    assert capsys.readouterr().out.strip() == str(folder)
    for file in ("pyproject.toml", "README.md", "Makefile", ".gitignore", ".github/workflows/test.yml"):
        assert "{{" not in (folder / file).read_text().replace("${{", "")
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=folder, capture_output=True, text=True
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "12 passed" in tested.stdout
    for words in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *words, "--no-cache", "."]
        linted = subprocess.run(ruff, cwd=folder, capture_output=True, text=True)
        assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("name", ["Word", "1x", "class", "a-b", ""])
def test_a_name_that_is_none_writes_nothing(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["plugin", "new", "--into", str(tmp_path), "--", name])
    assert done.value.code == 2
    assert "setup.plugin_name" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_already_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "chainops-x").mkdir()
    with pytest.raises(SystemExit) as done:
        main(["plugin", "new", "x", "--into", str(tmp_path)])
    assert (done.value.code, "is there already" in capsys.readouterr().err) == (2, True)
    assert list((tmp_path / "chainops-x").iterdir()) == []
