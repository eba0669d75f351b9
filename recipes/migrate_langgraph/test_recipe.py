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
