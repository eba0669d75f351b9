"""NeMo folders through the adapter. When NeMo changes, the contract tests say what broke."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage

from chainops import Pipeline, SetupError
from chainops.middleware.rails import PatternRail, Rail, RailBlocked, Rails
from chainops.middleware.trace import Trace
from chainops.testing import ScriptedModel, model_call, tool_call

pytest.importorskip("nemoguardrails", reason="needs nemoguardrails (the [rails] extra)")

from chainops.middleware.rails.nemo import nemo_rails
from chainops.middleware.rails.nemo.engine import PINNED, engine

REGEX = """
rails:
  config:
    regex_detection:
      input: {patterns: ["xyzzy", "(\\\\w|\\\\d)*(\\\\w|\\\\d)*(\\\\w|\\\\d)*[!?]$"]}
      output: {patterns: ["SECRET"], case_insensitive: true}
      retrieval: {patterns: ["poison"]}
  input: {flows: [regex check input]}
  output: {flows: [regex check output]}
  retrieval: {flows: [regex check retrieval]}
"""
SELF_CHECK = """
rails:
  input: {flows: [self check input]}
prompts:
  - task: self_check_input
    content: "Should this be blocked? {{ user_input }}"
"""


def folder(tmp_path: Path, config: str) -> Path:
    (tmp_path / "config.yml").write_text(config)
    return tmp_path


def ask(rails: list[Rail], model: Any, **options: Any) -> Any:
    return Pipeline([Rails(rails, **options)]).around_model(model)


def test_the_installed_version_is_the_pinned_one_and_has_every_name_that_is_used() -> None:
    nemo = engine()
    assert nemo.version.startswith(PINNED)
    for name in ("run", "execute"):
        from nemoguardrails.guardrails.compiled_rail import CompiledRail

        assert callable(getattr(CompiledRail, name))


async def test_contract_a_compiled_rail_gives_decision_reason_metadata_and_model_calls(tmp_path: Path) -> None:
    rail = nemo_rails(folder(tmp_path, REGEX))[0]
    done = await rail.compiled.execute([{"role": "user", "content": "say xyzzy"}])  # type: ignore[attr-defined]
    assert (done.outcome.decision.value, done.outcome.failed, done.llm_calls) == ("block", False, ())
    assert done.outcome.metadata["detections"] == ["xyzzy"]


async def test_contract_a_model_answers_yes_or_no_and_its_call_is_recorded(tmp_path: Path) -> None:
    model = ScriptedModel(["Yes", "No"])
    rail = nemo_rails(folder(tmp_path, SELF_CHECK), model=model)[0]
    for decision in ("block", "allow"):
        done = await rail.compiled.execute([{"role": "user", "content": "hi"}])  # type: ignore[attr-defined]
        assert done.outcome.decision.value == decision
        assert done.llm_calls[0].task == "self_check_input" and done.llm_calls[0].completion
    assert "Should this be blocked? hi" in model.calls[0][0].text


async def test_patterns_of_a_folder_guard_questions_answers_tool_results_and_documents(tmp_path: Path) -> None:
    rails = nemo_rails(folder(tmp_path, REGEX))
    assert [r.name for r in rails] == ["regex check input", "regex check output", "regex check retrieval"]
    for question, answer, place in (("xyzzy", "ok", "input"), ("hi", "the secret", "output")):
        with pytest.raises(RailBlocked) as caught:
            await ask(rails, ScriptedModel([answer]))(model_call(question))
        assert caught.value.place == place and not caught.value.failed
    assert (await ask(rails, ScriptedModel(["fine"]))(model_call("hi"))).text == "fine"

    async def tool(call: Any) -> Any:
        return "xyzzy"

    async def search(call: Any) -> Any:
        return [Document("fine"), Document("poison")]

    with pytest.raises(RailBlocked, match="tool result"):
        await Pipeline([Rails(rails)]).run(tool_call({}, engine=tool))
    refusing = Pipeline([Rails(rails, on_block="refuse")])
    found = await refusing.run(tool_call("q", kind="retriever", engine=search))
    assert [d.page_content for d in found] == ["fine"]


async def test_a_pattern_of_a_folder_that_backtracks_for_ever_blocks(tmp_path: Path) -> None:
    with pytest.raises(RailBlocked, match="could not judge"):
        await ask(nemo_rails(folder(tmp_path, REGEX)), ScriptedModel(["ok"]))(model_call("a" * 5000 + "c"))


@pytest.mark.parametrize("answer", ["", "maybe", "I cannot say", "yes"])
async def test_a_self_check_that_does_not_clearly_say_no_blocks(tmp_path: Path, answer: str) -> None:
    rails = nemo_rails(folder(tmp_path, SELF_CHECK), model=ScriptedModel([AIMessage(answer)]))
    with pytest.raises(RailBlocked):
        await ask(rails, ScriptedModel(["ok"]))(model_call("hi"))


async def test_a_self_check_whose_model_fails_blocks(tmp_path: Path) -> None:
    rails = nemo_rails(folder(tmp_path, SELF_CHECK), model=ScriptedModel([ValueError("no GPU")]))
    with pytest.raises(RailBlocked) as caught:
        await ask(rails, ScriptedModel(["ok"]))(model_call("hi"))
    assert caught.value.failed


async def test_the_model_call_of_a_rail_and_its_verdict_stand_in_the_trace(tmp_path: Path) -> None:
    rails = Rails(nemo_rails(folder(tmp_path, SELF_CHECK), model=ScriptedModel(["yes"])))
    trace = Trace(tmp_path / "t.db")
    with pytest.raises(RailBlocked):
        await Pipeline([trace, rails]).around_model(ScriptedModel(["ok"]))(model_call("hi"))
    trace.close()
    with closing(sqlite3.connect(tmp_path / "t.db")) as file:
        spans = dict(file.execute("SELECT name, attributes FROM span"))
        scores = list(file.execute("SELECT name, label FROM score"))
        (status,) = file.execute("SELECT status FROM span WHERE kind = 'model'").fetchone()
    assert "self_check_input" in spans["rail self check input"] and "model_calls" in spans["rail self check input"]
    assert '"rail":"self check input"' in spans["scripted"]
    assert "tokens_in" in spans["model scripted"]
    assert scores == [("rail.self check input", "block")] and status == "blocked"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("models: []", "rail"),
        ("rails: {input: {flows: []}}", "rail"),
        ("rails: {input: {flows: [regex check input]}}", "patterns"),
        ("rails: {output: {flows: [regex check input]}}", "direction"),
        ("rails: {input: {flows: [no such rail]}}", "no such rail"),
        ("rails: {input: {flows: [jailbreak detection model]}}", "jailbreak"),
        ("rails: {input: {flows: [jailbreak detection heuristics]}}", "jailbreak"),
        ("rails: {output: {flows: [self check facts]}}", "facts"),
        (
            "rails: {output: {flows: [self check facts]}}\nprompts: [{task: self_check_facts, content: x}]",
            "relevant_chunks",
        ),
        ("rails: {output: {flows: [self check hallucination]}}", "self check hallucination"),
        ("rails: {retrieval: {flows: [context bloat detection on retrieval]}}", "retrieval"),
        ("rails: {input: {flows: [ai defense inspect prompt]}}", "sends texts"),
        ("rails: {input: {flows: [content safety check input $model=content_safety]}}", "content_safety"),
        ("rails: {input: {flows: [detect sensitive data on input]}}", "sensitive|spacy"),
        ("rails: {output: {flows: [injection detection]}}", "njection"),
        (
            "rails: {config: {injection_detection: {injections: [x], action: reject, "
            'yara_rules: {x: "rule x { broken"}}}, output: {flows: [injection detection]}}',
            "(?i)yara",
        ),
        (
            "rails: {config: {injection_detection: {injections: [], action: reject}}, "
            "output: {flows: [injection detection]}}",
            "njection",
        ),
        (
            "rails: {config: {regex_detection: {input: {patterns: ['(']}}}, input: {flows: [regex check input]}}",
            "pattern",
        ),
        (SELF_CHECK, "no model"),
        ("colang_version: 2.x", "Colang 2"),
        ("rails: [", "read"),
    ],
)
def test_each_folder_that_would_let_everything_pass_is_an_error_before_the_first_call(
    tmp_path: Path, config: str, problem: str
) -> None:
    with pytest.raises(SetupError, match=problem) as caught:
        nemo_rails(folder(tmp_path, config))
    assert caught.value.code in ("setup.nemo", "setup.rails_empty") and caught.value.hint


def test_a_self_check_without_a_prompt_is_an_error_before_the_first_call(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="prompt"):
        nemo_rails(folder(tmp_path, "rails: {input: {flows: [self check input]}}"), model=ScriptedModel(["no"]))


def test_a_folder_that_is_not_there_or_a_policy_for_no_flow_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="not there"):
        nemo_rails(tmp_path / "away")
    with pytest.raises(SetupError, match="policy"):
        nemo_rails(folder(tmp_path, REGEX), policy={"regex check inptu": "flag"})


async def test_injection_rules_that_compile_block(tmp_path: Path) -> None:
    pytest.importorskip("yara", reason="needs yara-python")
    config = (
        "rails: {config: {injection_detection: {injections: [x], action: reject, "
        'yara_rules: {x: "rule x { strings: $a = \\"drop table\\" nocase condition: $a }"}}}, '
        "output: {flows: [injection detection]}}"
    )
    rails = nemo_rails(folder(tmp_path, config))
    with pytest.raises(RailBlocked, match="injection detection"):
        await ask(rails, ScriptedModel(["DROP TABLE users"]))(model_call("hi"))


async def test_policies_are_given_by_flow(tmp_path: Path) -> None:
    rails = nemo_rails(folder(tmp_path, REGEX), policy={"regex check output": "flag"})
    result = await ask(rails, ScriptedModel(["the secret"]))(model_call("hi"))
    assert result.message.response_metadata["rails"][0]["rail"] == "regex check output"


async def test_what_a_guard_model_said_is_kept_in_our_cache(tmp_path: Path) -> None:
    from chainops.store.cache import open_tiers

    config = """
models: [{type: content_safety, engine: chainops, model: guard}]
rails:
  input: {flows: [content safety check input $model=content_safety]}
prompts:
  - task: content_safety_check_input $model=content_safety
    content: "Safe? {{ user_input }}"
    output_parser: is_content_safe
"""
    guard = ScriptedModel(["safe"] * 2)
    tiers = open_tiers(None)
    for _ in range(2):  # two layers, so that nothing is remembered but by the cache
        rails = nemo_rails(folder(tmp_path, config), models={"content_safety": guard}, cache=tiers)
        await ask(rails, ScriptedModel(["ok"]))(model_call("hi"))
    assert len(guard.calls) == 1
    tiers.close()


def test_code_in_the_folder_or_the_working_directory_is_not_run_and_nothing_is_sent(tmp_path: Path) -> None:
    code = "from pathlib import Path\nPath('ran').write_text('x')\n"
    for name in ("config.py", "actions.py"):
        (tmp_path / name).write_text(code)
    folder(tmp_path, REGEX)
    script = """
import asyncio, socket, sys
def refuse(*args, **kwargs): raise AssertionError("the network was used")
socket.socket.connect = refuse; socket.getaddrinfo = refuse
from chainops.middleware.rails import Rails
from chainops.middleware.rails.nemo import nemo_rails
rails = Rails(nemo_rails("."))
assert asyncio.run(rails.judged("xyzzy")).blocked
import os, threading
assert os.environ["NEMO_GUARDRAILS_NO_USAGE_STATS"] == "1"
assert not [m for m in ("torch", "fastembed", "onnxruntime") if m in sys.modules]
assert threading.active_count() == 1, threading.enumerate()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PYTHONPATH": str(Path(__file__).parents[4]), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists() and not (tmp_path / ".config").exists()


def test_code_in_the_folder_is_named_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "actions.py").write_text("x = 1")
    with caplog.at_level(logging.WARNING, "chainops"):
        nemo_rails(folder(tmp_path, REGEX))
    assert "actions.py is not run" in caplog.text


def test_the_pattern_rail_of_retrieval_is_ours(tmp_path: Path) -> None:
    assert isinstance(nemo_rails(folder(tmp_path, REGEX))[2], PatternRail)
