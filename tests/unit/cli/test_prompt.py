from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from chainops.cli import main
from chainops.cli.prompt import app
from chainops.cli.prompt_io import side_by_side
from chainops.errors import ChainopsError
from chainops.store.artifacts import Artifacts

TONE = "Be kind."
ANSWER = """\
---
description: Answers customers
inputs:
  properties: {question: {type: string}, n: {type: integer}}
  required: [question]
partials: [tone]
tests:
  - {name: kind, inputs: {question: why}, contains: [kind, why], lacks: [stern]}
---
system:
{% include "tone" %}

user:
{{ question }}{% if n is defined %} in {{ n }} words{% endif %}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "prompts"
    made.mkdir()
    (made / "tone.prompt").write_text(TONE)
    (made / "answer.prompt").write_text(ANSWER)
    return made


@pytest.fixture
def run(cli: Any) -> Any:
    """Run a command that must succeed; its output."""

    def run(*words: Any, code: int = 0) -> str:
        result = cli(app, *words)
        assert result.exit_code == code, result.output
        return result.stdout  # type: ignore[no-any-return]

    return run


def second_version(run: Any, folder: Path) -> None:
    run("sync", folder)
    (folder / "tone.prompt").write_text("Be stern.")
    (folder / "answer.prompt").write_text(ANSWER.replace("in {{ n }}", "using {{ n }}"))
    run("sync", folder, "-m", "sterner")


def mistake(cli: Any, *words: Any) -> ChainopsError:
    with pytest.raises(ChainopsError) as caught:
        cli(app, *words)
    assert caught.value.hint
    return caught.value


def test_sync_check_says_how_files_and_database_differ_and_ends_with_1(run: Any, folder: Path, path: Path) -> None:
    assert "tone: the database does not have it" in run("sync", folder, "--check", code=1)
    assert not path.exists()
    assert "tone: the database does not have it; now version 1" in run("sync", folder)
    assert run("sync", folder, "--check") == ""
    (folder / "tone.prompt").write_text("Be brief.")
    out = run("sync", folder, "--check", code=1)
    assert out == "answer: the file differs from version 1\ntone: the file differs from version 1\n"
    rows = json.loads(run("sync", folder, "--check", "--json", code=1))
    assert [(row["name"], row["state"]) for row in rows] == [("answer", "changed"), ("tone", "changed")]
    (folder / "tone.prompt").unlink()
    assert "tone: there is no file, the label 'files' points to version 1" in run("sync", folder, "--check", code=1)


def test_list_tells_versions_labels_and_what_a_prompt_is_for(run: Any, folder: Path) -> None:
    run("sync", folder)
    run("promote", "answer", "prod")
    lines = run("list").splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["answer", "1", "files=1", "prod=1", "Answers", "customers"],
        ["tone", "1", "files=1"],
    ]
    assert json.loads(run("list", "--json"))[0]["labels"] == {"files": 1, "prod": 1}


def test_add_stores_one_file_and_says_when_it_was_there_already(run: Any, folder: Path) -> None:
    assert run("add", folder / "tone.prompt", "-m", "first").startswith("tone@1 ")
    assert run("add", folder / "tone.prompt").endswith(" (was there already)\n")
    row = json.loads(run("add", folder / "answer.prompt", "--author", "ann", "-m", "hello", "--json"))
    assert (row["name"], row["version"], row["author"], row["message"], row["new"]) == (
        "answer",
        1,
        "ann",
        "hello",
        True,
    )


def test_show_gives_back_the_file_and_its_history(run: Any, folder: Path) -> None:
    second_version(run, folder)
    assert "using {{ n }}" in run("show", "answer")
    assert "in {{ n }}" in run("show", "answer@1")
    shown = json.loads(run("show", "answer@1", "--json"))
    assert shown["content"]["partials"]["tone"] == json.loads(run("show", "tone@1", "--json"))["sha256"]
    history = run("show", "tone", "--history").splitlines()
    assert [line.split()[2:4] for line in history] == [
        ["version", "1"],
        ["files", "-"],
        ["version", "2"],
        ["files", "1"],
    ]
    assert history[-1].endswith("sterner")
    events = json.loads(run("show", "tone", "--history", "--json"))
    assert [event["event"] for event in events] == ["version", "move"] * 2


def test_diff_is_a_patch_between_two_versions(run: Any, folder: Path) -> None:
    second_version(run, folder)
    for words in (("diff", "tone"), ("diff", "tone", "1", "2"), ("diff", "tone", "1", "files")):
        lines = run(*words).splitlines()
        assert lines[:2] == ["--- tone@1", "+++ tone@2"]
        assert "-Be kind." in lines
        assert "+Be stern." in lines
    assert "+Be stern." in json.loads(run("diff", "tone", "--json"))["patch"]
    assert run("diff", "tone", "2", "2") == ""


def test_side_by_side_what_went_is_red_and_what_came_is_green() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="standard", width=60, legacy_windows=False)
    console.print(side_by_side("same\nold [b]line\n", "same\nnew\nmore\n", "p@1", "p@2"))
    lines = out.getvalue().splitlines()
    assert [name in lines[0] for name in ("p@1", "p@2")] == [True, True]
    assert lines[1].split() == ["same", "same"]
    assert "\x1b[31mold [b]line" in lines[2]
    assert "\x1b[32mnew" in lines[2]
    assert "\x1b[32mmore" in lines[3]


def test_diff_of_a_prompt_shows_that_only_a_partial_changed(run: Any, folder: Path) -> None:
    run("sync", folder)
    (folder / "tone.prompt").write_text("Be stern.")
    run("sync", folder)
    patch = run("diff", "answer")
    assert "-  tone: " in patch
    assert "+- tone" in patch


def test_render_puts_values_in(run: Any, folder: Path, tmp_path: Path) -> None:
    run("sync", folder)
    assert run("render", "answer", "--var", "question=why=not") == "system:\nBe kind.\n\nuser:\nwhy=not\n"
    values = tmp_path / "v.json"
    values.write_text('{"question": "{{ n }}", "n": 3}')
    row = json.loads(run("render", "answer@files", "--vars", values, "--json"))
    assert row["messages"][1] == {"role": "user", "text": "{{ n }} in 3 words"}
    assert set(row["variables"]) == {"question", "n"}


def test_a_prompt_whose_tests_fail_is_promoted_only_by_force_with_a_reason(
    run: Any, cli: Any, folder: Path, path: Path
) -> None:
    second_version(run, folder)
    assert run("test", "answer@1") == "ok     answer@1: kind\n"
    out = run("test", code=1)
    assert "FAILED answer@2: kind\n         lacks 'kind'\n         has 'stern'" in out
    assert [row["problems"] for row in json.loads(run("test", "answer", "--json", code=1))] == [
        ["lacks 'kind'", "has 'stern'"]
    ]
    refused = cli(app, "promote", "answer", "prod")
    assert refused.exit_code == 1
    assert "answer@2: kind: lacks 'kind'; has 'stern'" in refused.stderr
    assert mistake(cli, "promote", "answer", "prod", "--force").code == "setup.promote"
    assert not any(move.label == "prod" for move in Artifacts(path).moves("prompt", "answer"))
    assert run("promote", "answer", "prod", "--force", "--why", "they asked for it") == "answer: prod nothing → 2\n"
    assert Artifacts(path).moves("prompt", "answer")[-1].why == "forced, 1 tests failed: they asked for it"


def test_rollback_moves_a_label_back_and_says_so(run: Any, cli: Any, folder: Path) -> None:
    second_version(run, folder)
    run("promote", "tone@1", "prod"), run("promote", "tone", "prod")
    assert run("rollback", "tone", "prod", "--why", "too stern", "--author", "bob") == "tone: prod 2 → 1\n"
    assert mistake(cli, "rollback", "tone", "prod").code == "store.rollback"
    assert json.loads(run("promote", "tone@2", "prod", "--json"))["to_version"] == 2


def test_a_retired_version_cannot_be_used_until_it_is_taken_back(run: Any, cli: Any, folder: Path) -> None:
    second_version(run, folder)
    assert run("retire", "tone", 2, "--why", "too stern") == "tone@2 is retired\n"
    assert mistake(cli, "promote", "tone@2", "prod").code == "store.retired"
    assert mistake(cli, "render", "tone@2").code == "store.retired"
    assert "Be kind." in run("render", "tone")
    assert json.loads(run("list", "--json"))[1]["retired"] == [2]
    run("retire", "tone", 2, "--why", "it was right", "--undo")
    assert "Be stern." in run("render", "tone")


def test_an_export_is_in_step_with_the_database(run: Any, folder: Path, tmp_path: Path) -> None:
    run("sync", folder)
    assert json.loads(run("export", tmp_path / "out", "--json")) == [
        str(tmp_path / "out" / "answer.prompt"),
        str(tmp_path / "out" / "tone.prompt"),
    ]
    assert run("sync", tmp_path / "out", "--check") == ""
    run("promote", "tone", "prod")
    run("export", tmp_path / "prod", "--ref", "prod")
    assert [file.name for file in (tmp_path / "prod").iterdir()] == ["tone.prompt"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("show", "nobody"), "store.unknown_name"),
        (("show", "tone@9"), "store.unknown_version"),
        (("show", "tone@nope"), "store.unknown_label"),
        (("diff", "tone", "8"), "store.unknown_version"),
        (("diff", "nobody"), "store.unknown_name"),
        (("test", "nobody"), "store.unknown_name"),
        (("promote", "nobody", "prod"), "store.unknown_name"),
        (("promote", "tone", "latest"), "store.label"),
        (("promote", "tone", "Prod!"), "store.name"),
        (("rollback", "tone", "nope"), "store.unknown_label"),
        (("retire", "tone", "9", "--why", "x"), "store.unknown_version"),
        (("render", "answer"), "prompt.inputs"),
        (("render", "answer", "--var", "question"), "setup.vars"),
        (("render", "answer", "--vars", "nowhere.json"), "setup.vars"),
        (("add", "nowhere.prompt"), "setup.prompt_file"),
        (("sync", "nowhere"), "setup.prompt_file"),
        (("export", "/dev/null/x"), "setup.output"),
    ],
)
def test_a_mistake_is_one_clear_error(run: Any, cli: Any, folder: Path, words: tuple[str, ...], code: str) -> None:
    run("sync", folder)
    assert mistake(cli, *words).code == code


COMMANDS = [
    "list",
    "show x",
    "diff x",
    "render x",
    "test",
    "promote x y",
    "rollback x y",
    "retire x 1 --why z",
    "export y",
]


@pytest.mark.parametrize("words", COMMANDS)
def test_without_a_database_every_command_says_so_and_makes_none(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = tmp_path / "none.db"
    with pytest.raises(SystemExit) as ended:
        main(["prompt", *words.split(), "--db", str(db)])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: There is no trace file")
    assert "chainops prompt sync FOLDER" in said.err
    assert not db.exists()


def test_a_database_without_prompts_is_said_to_be_empty(run: Any, cli: Any, path: Path) -> None:
    Artifacts(path).add("dataset", "d", {}, author="ann")
    assert "There is no prompt yet" in cli(app, "list").stderr
    assert json.loads(run("list", "--json")) == []


# asking a model

ASKING = """\
---
inputs: {properties: {question: {type: string}}, required: [question]}
tests:
  - name: it knows the price
    inputs: {question: "How much is shipping?"}
    answer: {contains: [fifty euros], max_tokens: 60}
---
system:
SYSTEM
user:
{{ question }}
"""


@pytest.mark.llama
def test_a_test_can_ask_the_shipped_model_and_diff_shows_what_a_change_changes(run: Any, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python (the [llama] extra)")
    folder = tmp_path / "asking"
    folder.mkdir()
    (folder / "price.prompt").write_text(ASKING.replace("system:\nSYSTEM\n", ""))
    run("sync", folder)
    rows = json.loads(run("test", "--json"))
    assert rows[0]["problems"] == [] and "fifty euros" in rows[0]["answer"]
    broken = ASKING.replace("system:\nSYSTEM\n", "").replace(
        "\n{{ question }}", "\nHello {{ question|truncate(0, true, '') }}"
    )
    (folder / "price.prompt").write_text(broken)
    run("sync", folder)
    row = json.loads(run("diff", "price", "--json"))["behaviour"][0]
    assert row["old"]["score"] == 1 and row["new"]["score"] < 1 and row["alike"] < 1
    assert "the answer lacks 'fifty euros'" in run("diff", "price")
    run("promote", "price@1", "prod")
    run("promote", "price@2", "prod", code=1)
    assert "answer" not in json.loads(run("test", "--text-only", "--json"))[0]["problems"]


def test_a_model_in_code_can_be_asked(run: Any, cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_models.py").write_text(
        "from chainops.testing import ScriptedModel\n"
        "def make(): return ScriptedModel(['free above fifty euros'], repeat=True)\n"
        "def other(): return 7\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "asking"
    folder.mkdir()
    (folder / "price.prompt").write_text(ASKING)
    run("sync", folder)
    assert json.loads(run("test", "--model", "my_models:make", "--json"))[0]["problems"] == []
    with pytest.raises(ChainopsError, match="is a int, not a chat model") as caught:
        run("test", "--model", "my_models:other")
    assert caught.value.code == "setup.model_choice"
    result = cli(app, "promote", "price", "prod", "--model", "nowhere:x")
    assert result.exit_code == 1 and "its tests cannot be run" in result.stderr


# other systems


def test_a_prompt_of_another_system_becomes_a_file_and_goes_back(run: Any, cli: Any, tmp_path: Path) -> None:
    theirs = tmp_path / "greet.json"
    theirs.write_text(json.dumps({"name": "greet", "prompt": "Hi {{name}}", "labels": ["production"]}))
    folder = tmp_path / "imported"
    result = CliRunner().invoke(app, ["import", str(theirs), str(folder)])
    assert result.exit_code == 0 and "note: labels" in result.stderr
    run("sync", folder)
    run("export", tmp_path / "out", "--to", "langchain")
    back = CliRunner().invoke(app, ["import", str(tmp_path / "out" / "greet.json"), "-"])
    (tmp_path / "back.prompt").write_text(back.stdout)
    assert "was there already" in run("add", tmp_path / "back.prompt")


# splits


def test_a_label_can_be_split_and_made_one_again(run: Any, cli: Any, folder: Path) -> None:
    second_version(run, folder)
    run("sync", folder)
    run("promote", "answer@1", "prod", "--force", "--why", "test")
    out = run("split", "answer", "prod", "v1=90", "2=10", "--by", "thread", "--why", "try")
    assert out == "answer: prod means version 1 for 90.0%, version 2 for 10.0% of threads\n"
    row = json.loads(run("split", "answer", "prod", "1=1", "2=1", "--shadow", "--json"))
    assert (row["name"], row["version"], row["shadow"], row["unit"]) == ("answer/prod", 2, True, "user")
    assert "prod=1 (split 1/2, unseen)" in run("list")
    assert run("kill", "answer", "prod", "--why", "enough") == "answer: prod means version 1 for everybody\n"
    for words, code in [
        (("kill", "answer", "prod", "--why", "again"), "store.no_split"),
        (("split", "answer", "prod", "one"), "setup.split"),
        (("split", "answer", "prod", "2=1"), "setup.split"),
        (("split", "answer", "prod", "1=1", "9=1"), "store.unknown_version"),
        (("split", "nothing", "prod", "1=1"), "store.unknown_name"),
    ]:
        with pytest.raises(ChainopsError) as caught:
            cli(app, *words)
        assert caught.value.code == code and caught.value.hint


@pytest.mark.usefixtures("embedder")
def test_prompts_that_choose_their_examples_are_rendered_tested_and_promoted_too(run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "choosing"
    folder.mkdir()
    (folder / "capital.prompt").write_text(
        """---
inputs: {properties: {question: {type: string}}, required: [question]}
few_shot:
  choose: similar
  k: 1
  like: question
  examples:
    - {user: "What is the capital of France?", assistant: Paris}
    - {user: "How many cents has a euro?", assistant: "100"}
tests:
  - {name: near, inputs: {question: "What is the capital of Italy?"}, contains: [Paris], lacks: [cents]}
---
{{ question }}
"""
    )
    run("sync", folder)
    assert "Paris" in run("render", "capital", "--var", "question=Which city is the capital of Spain?")
    assert json.loads(run("test", "--json"))[0]["problems"] == []
    run("promote", "capital", "prod")
