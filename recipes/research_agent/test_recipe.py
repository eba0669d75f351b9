"""The recipe, told by its README: every command in it is run, and says what stands there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from chainops.testing import app_module, check_readme

HERE = Path(__file__).resolve().parent


def test_every_command_of_the_readme_says_what_stands_there(tmp_path: Path) -> None:
    folder = tmp_path / HERE.name
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.db*", "summaries-cache"))
    assert check_readme(HERE / "README.md", folder) >= 3


async def test_nothing_is_written_before_a_person_said_yes_and_no_tool_reads_outside_the_library(
    tmp_path: Path,
) -> None:
    recipe = app_module(__file__)
    (tmp_path / "library").mkdir()
    (tmp_path / "secret.txt").write_text("Secret.\nThe secret is out. Really.")
    (tmp_path / "library" / "tea.txt").write_text("Tea.\nTea is hot. Tea is green.")
    search, read, _ = recipe.tools(tmp_path / "library", tmp_path)
    assert search.invoke({"query": "green tea"}) == "tea.txt"
    assert read.invoke({"name": "../secret.txt"}) == "There is no ../secret.txt."
    graph = recipe.graph(recipe.model(), tmp_path / "library", tmp_path)
    config = {"configurable": {"thread_id": "1"}}
    state = await graph.ainvoke({"messages": ["Is tea green?"]}, config)
    assert "__interrupt__" in state
    assert {file.name for file in os.scandir(tmp_path)} == {"library", "secret.txt"}
