"""Runs what a README shows: every command of its ``console`` blocks, against the ``text`` block below it."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ReadmeStep", "check_readme", "readme_steps"]

_BLOCK = re.compile(r"^```console\n(.*?)^```\n(?:\n*(?:Output:\n+)?^```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
_ANY = "…"


@dataclass(frozen=True, slots=True)
class ReadmeStep:
    """Commands that stand in one block, and what the page says that they print together; None: it does not say."""

    commands: tuple[str, ...]
    expected: str | None


def readme_steps(file: str | Path) -> list[ReadmeStep]:
    """The ``console`` blocks of a page in order; a command is a line that begins with ``$``."""
    found = []
    for body, expected in _BLOCK.findall(Path(file).read_text(encoding="utf-8")):
        commands = tuple(re.findall(r"^\$ (.*)$", body, re.MULTILINE))
        found.append(ReadmeStep(commands, expected or None))
    return found


def check_readme(file: str | Path, folder: str | Path, *, timeout: float = 120.0) -> int:
    """Run every command of a README in ``folder``, one after another; returns how many there were.

    ``chainops``, ``python`` and ``pytest`` are those of this interpreter; variables ``CHAINOPS_...`` are left out.
    In the expected text ``…`` stands for anything within its line: times and ids differ.

    Args:
        timeout: seconds that one command may take.

    Raises:
        AssertionError: a command fails, or prints something else than the page says.
    """
    count = 0
    with tempfile.TemporaryDirectory(prefix="chainops-readme-") as tools:
        environ = _environ(Path(tools))
        for step in readme_steps(file):
            said = ""
            for command in step.commands:
                said += _run(command, Path(folder), environ, timeout)
                count += 1
            if step.expected is not None and not _matches(step.expected, said):
                lines = difflib.unified_diff(
                    step.expected.splitlines(), said.splitlines(), "the page", "the run", "", ""
                )
                raise AssertionError(f"{step.commands[-1]!r} prints something else:\n" + "\n".join(lines))
    return count


def _run(command: str, folder: Path, environ: dict[str, str], timeout: float) -> str:
    done = subprocess.run(  # noqa: S602 - the page shows lines for a shell
        command,
        shell=True,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{command!r} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def _environ(tools: Path) -> dict[str, str]:
    for name, start in (("chainops", "-m chainops"), ("python", ""), ("pytest", "-m pytest")):
        script = tools / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {start} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHAINOPS_")}
    return {**kept, "PATH": f"{tools}{os.pathsep}{kept.get('PATH', '')}", "NO_COLOR": "1", "COLUMNS": "120"}


def _matches(expected: str, said: str) -> bool:
    wanted, got = [[line.rstrip() for line in text.splitlines()] for text in (expected, said)]
    patterns = ["[^\n]*".join(map(re.escape, line.split(_ANY))) for line in wanted]
    return len(wanted) == len(got) and all(
        re.fullmatch(pattern, line) for pattern, line in zip(patterns, got, strict=True)
    )
