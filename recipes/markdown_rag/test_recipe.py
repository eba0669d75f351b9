"""The recipe, told by its README: every command in it is run, and says what stands there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from chainops.testing import app_module, check_readme

HERE = Path(__file__).resolve().parent


def embedder_is_there() -> bool:
    from chainops.engines.embeddings.place import MODEL, default_place

    return (default_place() / MODEL).is_file()


pytest.importorskip("onnxruntime", reason="needs onnxruntime (the [onnx] extra)")
pytestmark = pytest.mark.skipif(not embedder_is_there(), reason="there is no embedder: make embedder")


def test_every_command_of_the_readme_says_what_stands_there(tmp_path: Path) -> None:
    folder = tmp_path / HERE.name
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.db*", "summaries-cache"))
    assert check_readme(HERE / "README.md", folder) >= 3


async def test_sections_know_their_headings_and_an_empty_folder_has_none(tmp_path: Path) -> None:
    recipe = app_module(__file__)
    (tmp_path / "a.md").write_text("before\n# One\ntext\n## Two\nmore\n# Three\nlast\n")
    retriever = recipe.Sections(folder=tmp_path)
    sections = retriever.split(tmp_path / "a.md")
    assert [section.page_content for section in sections] == [
        "\nbefore", "One\ntext", "One > Two\nmore", "Three\nlast"
    ]  # fmt: skip
    assert sections[2].metadata == {"source": "a.md#Two"}
    (tmp_path / "none").mkdir()
    state = await recipe.graph(recipe.Quoter(), recipe.Sections(folder=tmp_path / "none")).ainvoke({"question": "x"})
    assert state["answer"] == "The notes do not say."
