"""The command line as a person types it: odd terminals, odd letters, closed pipes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chainops.cli.demo import _answer, _Terminal


def chainops(*words: str | bytes, cwd: Path, **environ: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "chainops", *words],
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def test_a_terminal_without_a_letter_shows_a_question_mark(tmp_path: Path) -> None:
    finished = chainops("docs", "index", cwd=tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert finished.returncode == 0, finished.stderr
    assert b"?" in finished.stdout


def test_an_argument_that_is_no_text_is_a_mistake_of_one_line(store: Any, tmp_path: Path) -> None:
    store.example()
    store.writer.close()
    finished = chainops("trace", "show", b"a\xff", "--db", str(store.path), cwd=tmp_path, PYTHONUTF8="1")
    assert finished.returncode == 2
    assert b"is not text" in finished.stderr
    assert b"Traceback" not in finished.stderr


def test_what_a_person_types_is_shown_as_typed_and_never_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = _Terminal(yes=False)
    terminal.say({"event": "question", "text": "[/] [bold]hi[/bold]"})
    terminal.say({"event": "tool_call", "name": "get_order", "args": {"order": "[/x]"}})
    terminal.say({"event": "approval", "question": "refund [/y]?", "answer": "no"})
    shown = capsys.readouterr().out
    assert "[/] [bold]hi[/bold]" in shown
    assert "get_order(order=[/x])" in shown
    assert "refund [/y]?" in shown


def test_without_any_stdin_nothing_is_approved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert _Terminal(yes=False).ask({"question": "refund?"}) == "no"


async def test_the_graph_is_closed_when_its_output_cannot_be_shown() -> None:
    closed: list[bool] = []

    class Graph:
        async def astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            try:
                while True:
                    yield "updates", {"triage": {"topic": "faq"}}
            finally:
                closed.append(True)

    events = _answer(Graph(), "hi", "t1", lambda pending: "no")
    assert (await anext(events))["topic"] == "faq"
    await events.aclose()
    assert closed == [True]


def test_the_shell_completes_commands_and_options(tmp_path: Path) -> None:
    asked = {"_CHAINOPS_COMPLETE": "complete_bash", "COMP_WORDS": "chainops tr", "COMP_CWORD": "1"}
    assert chainops(cwd=tmp_path, **asked).stdout.split() == [b"trace"]
    inner = {**asked, "COMP_WORDS": "chainops trace sh", "COMP_CWORD": "2"}
    assert chainops(cwd=tmp_path, **inner).stdout.split() == [b"show"]
    option = {**asked, "COMP_WORDS": "chainops trace show --con", "COMP_CWORD": "3"}
    assert chainops(cwd=tmp_path, **option).stdout.split() == [b"--content"]


@pytest.mark.parametrize(("shell", "names"), [("zsh", '"trace"'), ("fish", "trace"), ("powershell", "trace")])
def test_other_shells_are_answered_too(tmp_path: Path, shell: str, names: str) -> None:
    asked = {"_CHAINOPS_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "chainops tr"}
    asked |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_WORD_TO_COMPLETE": "tr"}
    out = chainops(cwd=tmp_path, **asked).stdout.decode()
    assert names in out and "Look at recorded runs" in out and "db" not in out.split()


def test_the_script_for_a_shell_is_printed_and_a_shell_takes_it(tmp_path: Path) -> None:
    import shlex
    import shutil

    if (bash := shutil.which("bash")) is None:
        pytest.skip("there is no bash here")
    # the script is for the shell that asks: found among the parents of the process, and cron, say, has another one
    asked = shlex.join([sys.executable, "-m", "chainops", "--show-completion"])
    script = subprocess.run([bash, "-c", f"{asked}; exit"], cwd=tmp_path, capture_output=True, timeout=60)
    assert script.returncode == 0, script.stderr
    (tmp_path / "chainops.sh").write_bytes(script.stdout)
    told = subprocess.run(
        [bash, "-c", "source ./chainops.sh && complete -p chainops"], cwd=tmp_path, capture_output=True
    )
    assert b"_chainops_completion chainops" in told.stdout, told


def test_python_runs_a_script_with_its_own_arguments(tmp_path):
    import subprocess
    import sys

    (tmp_path / "app.py").write_text("import sys, chainops; print(sys.argv[1:])")
    command = [sys.executable, "-m", "chainops", "python", "app.py", "--help", "-x"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "['--help', '-x']\n"), done.stderr
