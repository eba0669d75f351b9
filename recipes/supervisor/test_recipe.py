"""The recipe, told by its README: every command in it is run, and says what stands there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chainops.testing import check_readme

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent / "tiny_model" / "support-desk-tiny.gguf"

pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
pytestmark = [pytest.mark.llama, pytest.mark.skipif(not MODEL.is_file(), reason=f"{MODEL.name} is not there")]


def test_every_command_of_the_readme_says_what_stands_there(tmp_path: Path) -> None:
    folder = tmp_path / HERE.name
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.db*"))
    assert check_readme(HERE / "README.md", folder) >= 2


async def test_what_the_model_cannot_name_goes_to_people_and_every_request_is_answered_once() -> None:
    from chainops.testing import ScriptedModel, app_module

    recipe = app_module(__file__)
    scripted = ScriptedModel(["nonsense", "faq", "An answer."])
    state = await recipe.graph(scripted).ainvoke({"message": "Blue?  Green!", "answers": []})
    assert state["answers"] == ["A colleague will write to you about: Blue?", "An answer."]
    assert (await recipe.graph(ScriptedModel([])).ainvoke({"message": "", "answers": []}))["reply"] == ""
