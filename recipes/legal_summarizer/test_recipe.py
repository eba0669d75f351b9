"""The recipe, told by its README: every command in it is run, and says what stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
BLOCK = re.compile(r"```console\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "legal_summarizer"
    shutil.copytree(HERE, made, ignore=shutil.ignore_patterns("__pycache__", "*.db*"))
    return made


def run(command: str, folder: Path) -> tuple[int, str]:
    program, _, rest = command.partition(" ")
    words = {"chainops": f"{sys.executable} -m chainops", "python": sys.executable}.get(program, program)
    done = subprocess.run(
        f"{words} {rest}",
        shell=True,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("CHAINOPS_")},
    )
    return done.returncode, done.stdout


def test_every_command_of_the_readme_says_what_stands_there(folder: Path) -> None:
    blocks = BLOCK.findall((HERE / "README.md").read_text(encoding="utf-8"))
    assert len(blocks) == 6
    for commands, expected in blocks:
        said = ""
        for command in re.findall(r"^\$ (.*)$", commands, re.MULTILINE):
            code, out = run(command, folder)
            refused = command == "chainops prompt promote summarize prod --model app:model"
            assert code == (1 if refused else 0), out
            if "reproduce" in command:  # the id of the run is another each time
                assert out.endswith("on legal_summarizer@2: the same\n")
            else:
                said += out
        assert said == expected


def test_after_the_rollback_history_and_check_tell_the_story(folder: Path) -> None:
    for command in (
        "chainops prompt sync prompts",
        "chainops prompt promote summarize prod --model app:model",
        "cp later/summarize.prompt prompts/summarize.prompt",
    ):
        assert run(command, folder)[0] == 0
    code, out = run("chainops prompt sync prompts --check", folder)
    assert code == 1 and "the file differs from version 1" in out
    assert "prod - → 1" in run("chainops prompt show summarize --history", folder)[1]
