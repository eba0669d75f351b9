"""The recipe, told by its README: every command in it is run, and says what stands there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chainops.testing import ScriptedModel, app_module, check_readme

HERE = Path(__file__).resolve().parent


def test_every_command_of_the_readme_says_what_stands_there(tmp_path: Path) -> None:
    folder = tmp_path / HERE.name
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.db*", "summaries-cache"))
    assert check_readme(HERE / "README.md", folder) >= 3


def test_a_text_that_fails_stops_no_other_and_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = app_module(__file__)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    for name in ("one", "two"):
        (tmp_path / "texts" / f"{name}.txt").write_text(f"This is {name}.")
    broken = ScriptedModel([lambda messages: ValueError("no") if "one" in messages[-1].text else "Fine."], repeat=True)
    monkeypatch.setattr(recipe, "model", lambda: broken)
    monkeypatch.setattr(recipe, "HERE", tmp_path)
    (tmp_path / "chainops.toml").write_text('[pipeline]\nmiddleware = ["trace", "retry"]\n')
    assert recipe.main(tmp_path / "texts", tmp_path / "out.txt", 2) == 1
    assert (tmp_path / "out.txt").read_text() == "two: Fine.\n"
    assert recipe.main(tmp_path / "none", tmp_path / "out.txt", 2) == 0
