"""The drawing says what the trace says: on real graphs, from Python, the command line and as a page."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import END, START, MessagesState, StateGraph

from chainops import App, SetupError
from chainops.store.reader import Reader
from chainops.testing import ScriptedModel, check_plugin
from chainops_mermaid import Measured, draw, measure, plugin

APP = """
import asyncio

from langgraph.graph import END, START, MessagesState, StateGraph


async def step(state):
    await asyncio.sleep(0.02)
    return {"messages": []}


def make():
    inner = StateGraph(MessagesState)
    for name in ("search", "read"):
        inner.add_node(name, step)
    inner.add_edge(START, "search")
    inner.add_edge("search", "read")
    outer = StateGraph(MessagesState)
    outer.add_node("plan", step)
    outer.add_node("side", step)
    outer.add_node("research", inner.compile())
    outer.add_node("write", step)
    outer.add_node("apologise", step)
    outer.add_edge(START, "plan")
    outer.add_edge("plan", "research")
    outer.add_edge("plan", "side")
    outer.add_edge(["research", "side"], "write")
    outer.add_conditional_edges("write", lambda state: END, {END: END, "sorry": "apologise"})
    return outer.compile(name="writer")


graph = make()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed_plugin: Any) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "chainops.toml").write_text('[plugins.mermaid]\ndirection = "LR"\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def graph_of(folder: Path) -> Any:
    names: dict[str, Any] = {}
    exec((folder / "app.py").read_text(), names)
    return names["graph"]


def measured_runs(db: str = "chainops.db") -> Measured:
    with Reader(db) as reader:
        return measure([reader.spans(run.id) for run in reversed(reader.runs())])


def chainops(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "chainops", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def name_of(text: str, id_: str) -> str:
    found = re.search(rf"(?:subgraph )?\b{id_}(?:\[|\(\[)\"(.*?)(?:<br/>|\")", text)
    assert found is not None, f"{id_} is not drawn:\n{text}"
    return found[1]


def arrows(text: str) -> set[tuple[str, str, str]]:
    found = re.findall(r"^  (n\d+) (==>|-\.->)(?:\|.*?\|)? (n\d+)$", text, re.MULTILINE)
    return {(name_of(text, one), kind, name_of(text, other)) for one, kind, other in found}


async def test_the_trace_alone_draws_what_ran_with_subgraphs_as_frames(folder: Path) -> None:
    with App() as app:
        await app.instrument(graph_of(folder)).ainvoke({"messages": []})
    measured = measured_runs()
    assert set(measured.nodes) == {"plan", "research", "research/search", "research/read", "side", "write"}
    assert measured.steps[("research/search", "research/read")] == 1
    text = draw(measured)
    assert ("research", "==>", "write") in arrows(text)
    assert ("side", "==>", "write") in arrows(text)
    assert ("start", "==>", "plan") in arrows(text)
    assert ("write", "==>", "end") in arrows(text)
    assert "apologise" not in text
    frame = re.search(r"subgraph n\d+\[\"research<br/>.*?\n(.*?)\n  end", text, re.DOTALL)
    assert frame is not None and "search<br/>" in frame[1] and "read<br/>" in frame[1] and "plan" not in frame[1]


async def test_with_the_graph_what_never_ran_is_there_and_dotted(folder: Path) -> None:
    with App() as app:
        graph = app.instrument(graph_of(folder))
        for _ in range(3):
            await graph.ainvoke({"messages": []})
    text = draw(measured_runs(), graph)
    assert ("write", "-.->", "apologise") in arrows(text)
    assert ("plan", "==>", "side") in arrows(text)
    assert ("search", "==>", "read") in arrows(text)
    assert ("write", "==>", "end") in arrows(text)
    assert ("side", "==>", "research") not in arrows(text)
    assert '==>|"3 ×"|' in text
    assert text == draw(measured_runs(), graph_of(folder)), "the plain graph is drawn like the instrumented one"


async def test_times_tokens_and_failures_stand_at_their_nodes(tmp_path: Path) -> None:
    model = ScriptedModel(["one two three"])

    async def slow(state: MessagesState) -> Any:
        await asyncio.sleep(0.05)
        return {"messages": [await model.ainvoke(state["messages"])]}

    async def broken(state: MessagesState) -> Any:
        raise ValueError("no")

    builder = StateGraph(MessagesState)
    builder.add_node("slow <b>", slow)
    builder.add_node("broken", broken)
    builder.add_edge(START, "slow <b>")
    builder.add_edge("slow <b>", "broken")
    builder.add_edge("broken", END)
    with App(trace={"path": str(tmp_path / "t.db")}) as app, pytest.raises(ValueError, match="no"):
        await app.instrument(builder.compile()).ainvoke({"messages": ["hi"]})
    measured = measured_runs(str(tmp_path / "t.db"))
    slow_node = measured.nodes["slow <b>"]
    assert (slow_node.calls, slow_node.tokens, slow_node.failed) == (1, 4, 0)
    assert 50 <= slow_node.total_ms <= measured.total_ms
    assert measured.nodes["broken"].failed == 1
    text = draw(measured)
    (line,) = [line for line in text.splitlines() if "slow" in line]
    assert "slow #lt;b#gt;<br/>" in line and "4 tokens" in line
    id_ = line.split("[")[0].strip()
    assert f"  class {id_} hot" in text.splitlines()
    assert "1 failed" in text


def test_the_command_draws_a_run_many_runs_and_the_whole_graph(folder: Path, installed_plugin: Any) -> None:
    assert installed_plugin is plugin
    with App() as app:
        for _ in range(2):
            asyncio.run(app.instrument(graph_of(folder)).ainvoke({"messages": []}))
    one = chainops("mermaid", "draw", "last")
    assert one.startswith("flowchart LR\n")
    assert "2 ×" not in one
    many = chainops("mermaid", "draw", "--runs", "5", "--app", ".")
    assert '==>|"2 ×"|' in many
    assert ("write", "-.->", "apologise") in arrows(many)
    assert ("read", "==>", "write") not in arrows(many)
    html = chainops("plugin", "page", "mermaid/runs")
    assert "<h1>writer</h1><p>2 runs" in html
    assert "<pre class=mermaid>flowchart LR" in html and "<script" not in html
    (folder / "chainops.toml").write_text('[plugins.mermaid]\nscript = "/m.js"\n')
    assert '<script src="/m.js">' in chainops("plugin", "page", "mermaid/runs")


def test_a_trace_without_runs_is_a_page_that_says_so(tmp_path: Path) -> None:
    from chainops.store.migrate import upgrade

    upgrade(tmp_path / "t.db")
    assert "There are no runs yet" in plugin.pages["runs"](plugin.check_options({}), tmp_path / "t.db")
    assert draw(Measured()).startswith("flowchart TD\n")


def test_a_misspelt_option_is_an_error_that_knows_the_right_one() -> None:
    with pytest.raises(SetupError, match="did you mean 'direction'"):
        plugin.build({"directoin": "LR"})


async def test_everything_that_the_plugin_brings_passes_its_checks() -> None:
    assert [finding for finding in await check_plugin(plugin) if not finding.passed] == []
