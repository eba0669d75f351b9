"""Trace assertions, faults, snapshots and fixtures: what they pass, and what they must not let pass."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.graph import START, MessagesState, StateGraph

from chainops import App, instrument
from chainops.middleware.trace import Trace
from chainops.testing import (
    Faults,
    MiddlewareConformance,
    PromptSnapshot,
    RecordedTrace,
    ScriptedModel,
    app_module,
    assert_span,
    disk_full,
    prompt_text,
)


def graph_of(model: ScriptedModel) -> Any:
    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return builder.compile()


class TestFaultsConformance(MiddlewareConformance):
    def make(self) -> Faults:
        return Faults()


async def test_a_trace_is_read_back_by_kind_name_and_field(tmp_path: Path) -> None:
    with App(trace={"path": tmp_path / "t.db"}, pipeline={"middleware": ["trace"]}) as app:
        trace = RecordedTrace(tmp_path / "t.db", app.flush)
        assert trace.spans() == []
        graph = app.instrument(graph_of(ScriptedModel(["one two", "three"])))
        for _ in range(2):
            await graph.ainvoke({"messages": ["hi"]})
        assert [span.output["content"] for span in trace.model_calls] == ["one two", "three"]
        assert trace.path_of_nodes == ["answer", "answer"]
        assert len(trace.runs) == 2 and trace.tool_calls == []
        span = trace.assert_span("model", tokens_out=2)
        assert (span.status, span.path, span.model, span.input[0]["content"]) == ("ok", "answer", "scripted", "hi")
        assert trace.spans(error=None, kind="run") == trace.runs


async def test_an_assertion_on_a_span_that_is_not_there_shows_those_that_are(tmp_path: Path) -> None:
    layer = Trace(tmp_path / "t.db")
    await instrument(graph_of(ScriptedModel(["x"])), [layer]).ainvoke({"messages": ["hi"]})
    layer.close()
    trace = RecordedTrace(tmp_path / "t.db")
    with pytest.raises(
        AssertionError, match=r"0 spans with kind='tool'.*wanted 1; there are:\nrun(.|\n)*model 'scripted'"
    ):
        assert_span(trace, "tool")
    with pytest.raises(AssertionError, match="1 spans with kind='model' name='scripted', wanted 2"):
        trace.assert_span("model", "scripted", times=2)
    with pytest.raises(ValueError, match="use `assert not"):
        trace.assert_span("tool", times=0)


async def test_faults_hit_the_calls_that_were_chosen_as_often_as_was_said() -> None:
    faults = Faults().fail(ConnectionError("down"), kind="model", times=2)
    graph = instrument(graph_of(ScriptedModel(["fine"])), [faults])
    for _ in range(2):
        with pytest.raises(ConnectionError, match="down"):
            await graph.ainvoke({"messages": ["hi"]})
    assert (await graph.ainvoke({"messages": ["hi"]}))["messages"][-1].text == "fine"
    assert faults.hits == [("fail", "model", "answer")] * 2


async def test_a_stream_breaks_after_the_pieces_that_were_said() -> None:
    faults = Faults().break_stream(ConnectionError("cut"), 2)
    seen: list[str] = []
    with pytest.raises(ConnectionError, match="cut"):
        async for chunk, _ in instrument(graph_of(ScriptedModel(["a b c d"])), [faults]).astream(
            {"messages": ["hi"]}, stream_mode="messages"
        ):
            seen.append(chunk.text)
    assert seen == ["a ", "b "]


async def test_a_slow_call_can_be_cut_by_a_time_limit() -> None:
    slow = instrument(graph_of(ScriptedModel(["x"])), [Faults().slow(60, path="ans*", kind="node")])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(slow.ainvoke({"messages": ["hi"]}), 0.05)


@pytest.mark.parametrize("kind", ["run", "node", "model"])
async def test_a_run_is_cancelled_where_the_chosen_call_begins(kind: str) -> None:
    faults = Faults()
    await faults.cancel(instrument(graph_of(ScriptedModel(["x"])), [faults]).ainvoke({"messages": ["hi"]}), kind=kind)
    assert [hit[1] for hit in faults.hits] == [kind]


async def test_a_run_that_swallows_its_cancellation_fails_the_test() -> None:
    faults = Faults()

    async def stubborn() -> str:
        try:
            await instrument(graph_of(ScriptedModel(["x"])), [faults]).ainvoke({"messages": ["hi"]})
        except asyncio.CancelledError:
            return "never mind"
        return "ended"

    with pytest.raises(AssertionError, match="ended with 'never mind', not as cancelled"):
        await faults.cancel(stubborn(), kind="model")
    with pytest.raises(AssertionError, match="no call matched kind='tool'"):
        await faults.cancel(stubborn(), kind="tool")


def test_while_the_disk_is_full_nothing_is_written_and_after_it_everything_is(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="this system has no limit on the size of files")
    file = tmp_path / "x"
    with disk_full(), pytest.raises(OSError, match="File too large"):
        file.write_bytes(b"x" * 10)
    file.write_bytes(b"x" * 10)
    assert file.stat().st_size == 10


def test_a_traced_run_survives_a_full_disk(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="this system has no limit on the size of files")
    layer = Trace(tmp_path / "t.db")
    with disk_full():
        state = asyncio.run(instrument(graph_of(ScriptedModel(["fine"])), [layer]).ainvoke({"messages": ["hi"]}))
    layer.close()
    assert state["messages"][-1].text == "fine"


CALL = AIMessage("", tool_calls=[{"name": "look", "args": {"b": 1, "a": [2]}, "id": "id-1"}])


def test_a_prompt_as_text_is_readable_and_the_same_every_time() -> None:
    text = prompt_text([SystemMessage("Be brief."), HumanMessage("Hi\nthere"), CALL])
    assert text == '--- system\nBe brief.\n--- human\nHi\nthere\n--- ai\n→ look {"a":[2],"b":1}\n'
    assert prompt_text([{"type": "human", "content": "Hi\nthere"}]) == "--- human\nHi\nthere\n"


def test_a_prompt_that_changed_fails_with_the_difference_until_it_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    snapshot = PromptSnapshot(tmp_path)
    snapshot.check("ask", [HumanMessage("one")])
    snapshot.check("ask", [HumanMessage("one")])
    with pytest.raises(AssertionError, match=r"-one\n\+two"):
        snapshot.check("ask", [HumanMessage("two")])
    PromptSnapshot(tmp_path, update=True).check("ask", [HumanMessage("two")])
    snapshot.check("ask", [HumanMessage("two")])


def test_a_build_machine_makes_no_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(AssertionError, match="there is no snapshot"):
        PromptSnapshot(tmp_path).check("ask", [HumanMessage("one")])
    assert list(tmp_path.iterdir()) == []


def test_applications_of_one_name_are_modules_apart(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.py").write_text(f"NAME = {name!r}")
    first, second = (app_module(tmp_path / name / "test_app.py") for name in ("one", "two"))
    assert (first.NAME, second.NAME) == ("one", "two")
    assert app_module(tmp_path / "one" / "test_other.py") is first


PROJECT = """
import pytest
from langgraph.graph import START, MessagesState, StateGraph


def graph_of(model):
    async def answer(state: MessagesState):
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return builder.compile()


async def test_passes(chainops_app, trace, scripted_model, prompt_snapshot):
    await chainops_app.instrument(graph_of(scripted_model("fine"))).ainvoke({"messages": ["hi"]})
    assert len(trace.model_calls) == 1
    prompt_snapshot.check("asked", trace.model_calls[0].input)
    assert chainops_app.settings.trace.max_queue == 77


def test_sync_passes(chainops_app, trace, scripted_model):
    model = scripted_model("fine")
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_edge(START, "answer")
    chainops_app.instrument(builder.compile()).invoke({"messages": ["hi"]})
    assert trace.assert_span("node").name == "answer"


@pytest.mark.parametrize("chainops_settings", [{"pipeline": {"middleware": []}}])
def test_settings_can_be_given(chainops_app, chainops_settings):
    assert chainops_app.trace is None


async def test_fails_on_a_line_that_nobody_asked_for(chainops_app, scripted_model):
    await chainops_app.instrument(graph_of(scripted_model("one", "two"))).ainvoke({"messages": ["hi"]})


def test_fails_on_a_changed_prompt(prompt_snapshot):
    prompt_snapshot.check("known", [{"type": "human", "content": "new"}])
"""


def test_the_fixtures_work_in_a_project_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chainops.toml").write_text(
        "[pipeline]\nmiddleware = ['trace', 'chain', 'limits', 'budgets', 'cache', 'cost']\n"
        "[trace]\nmax_queue = 77\npath = 'never-made.db'\n[limits]\npath = 'never-limits.db'\n"
        "[chain]\npath = 'never-chain.db'\n[[budgets.rules]]\nhard = 9\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_it.py").write_text(PROJECT)
    known = tmp_path / "tests" / "snapshots" / "test_it" / "known.txt"
    known.parent.mkdir(parents=True)
    known.write_text("--- human\nold\n")
    monkeypatch.delenv("CI", raising=False)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "chainops.pytest_plugin", "-p", "no:cacheprovider"]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 failed, 4 passed, 1 error" in ran.stdout, ran.stdout
    assert "the model was asked 1 times, its script has 2 lines" in ran.stdout
    assert "+new" in ran.stdout
    assert [path.name for path in tmp_path.iterdir() if path.match("never-*") or path.match("chainops-*")] == []
    assert (known.parent / "asked.txt").read_text() == "--- human\nhi\n"
    updated = subprocess.run(
        [*words, "--update-prompts", "-k", "changed"], cwd=tmp_path, capture_output=True, text=True
    )
    assert "1 passed" in updated.stdout, updated.stdout
    assert known.read_text() == "--- human\nnew\n"
