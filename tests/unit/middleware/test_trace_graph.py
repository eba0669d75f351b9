"""The trace middleware around real LangGraph graphs."""

import json
import sqlite3
from typing import TypedDict

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt

from chainops.adapters.langgraph import instrument
from chainops.middleware.trace import Trace
from chainops.pipeline import Pipeline
from chainops.testing import MiddlewareConformance, ScriptedModel


class TestTraceConforms(MiddlewareConformance):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.made = []
        self.path = tmp_path / "trace.db"
        yield
        for trace in self.made:
            assert trace.failures == 0
            trace.close()

    def make(self):
        self.made.append(Trace(self.path))
        return self.made[-1]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.db"


@pytest.fixture
def trace(path):
    made = Trace(path)
    yield made
    made.close()
    assert made.failures == 0


def rows(path, sql="SELECT s.*, r.run_id FROM span s JOIN run r ON r.id = s.run ORDER BY s.start_ns"):
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(sql)]
    finally:
        connection.close()


@tool
def lookup(order: int) -> str:
    """Find an order."""
    return f"order {order} shipped"


def support_graph():
    model = ScriptedModel(["it is on its way"])

    async def ask(state):
        return {"messages": [await model.ainvoke(state["messages"])]}

    async def find(state):
        return {"messages": [("human", await lookup.ainvoke({"order": 17}))]}

    def approve(state):
        return {"messages": [("human", interrupt("refund?"))]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_node("find", find, metadata={"chainops": {"off": ["rails"]}})
    graph.add_node("approve", approve)
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", lambda state: "find", {"find": "find"})
    graph.add_edge("find", "approve")
    graph.add_edge("approve", END)
    return graph.compile(checkpointer=MemorySaver(), name="support")


async def test_a_run_leaves_a_tree_of_all_its_calls(trace, path):
    app = instrument(support_graph(), Pipeline([trace]))
    config = {"configurable": {"thread_id": "T1"}, "tags": ["x"], "metadata": {"user": "u"}}
    async for _ in app.astream({"messages": [("human", "hi")]}, config, stream_mode="messages"):
        pass
    await app.ainvoke(Command(resume="yes"), config)
    trace.flush()
    first, second = rows(path, "SELECT * FROM run ORDER BY id")
    assert (first["graph"], first["thread"], first["status"], first["spans"]) == ("support", "T1", "paused", 7)
    assert (first["model_calls"], first["tool_calls"], first["errors"]) == (1, 1, 0)
    assert (second["status"], second["spans"]) == ("ok", 2)
    spans = [span for span in rows(path) if span["run_id"] == first["run_id"]]
    by_id = {span["id"]: span for span in spans}
    seen = {
        (span["kind"], span["name"], by_id[span["parent"]]["name"] if span["parent"] else None, span["status"])
        for span in spans
    }
    assert seen == {
        ("run", "support", None, "paused"),
        ("node", "ask", "support", "ok"),
        ("model", "scripted", "ask", "ok"),
        ("route", "ask", "support", "ok"),
        ("node", "find", "support", "ok"),
        ("tool", "lookup", "find", "ok"),
        ("node", "approve", "support", "paused"),
    }
    model = next(span for span in spans if span["kind"] == "model")
    assert model["tokens_out"] > 0
    assert model["first_token_ns"] > 0
    off = [json.loads(span["attributes"])["off"] for span in spans if span["name"] == "find"]
    assert off == [["rails"]]


def test_a_synchronous_run_needs_no_loop_and_leaves_the_same_tree(trace, path):
    app = instrument(support_graph(), Pipeline([trace]))

    def ask(state):
        return {"messages": [("human", lookup.invoke({"order": 1}))]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    app = instrument(graph.compile(), Pipeline([trace]))
    app.invoke({"messages": []})
    trace.flush()
    assert [(s["kind"], s["status"]) for s in rows(path)] == [("run", "ok"), ("node", "ok"), ("tool", "ok")]


async def test_attempts_of_a_retried_node_are_spans_with_their_number(trace, path):
    class State(TypedDict):
        n: int

    tries = []

    async def flaky(state):
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("again")
        return {"n": 1}

    graph = StateGraph(State)
    graph.add_node("flaky", flaky, retry_policy=RetryPolicy(initial_interval=0.001, jitter=False))
    graph.add_edge(START, "flaky")
    await instrument(graph.compile(), Pipeline([trace])).ainvoke({"n": 0})
    trace.flush()
    spans = [(s["attempt"], s["status"], s["error_type"]) for s in rows(path) if s["kind"] == "node"]
    assert spans == [(1, "error", "ConnectionError"), (2, "error", "ConnectionError"), (3, "ok", None)]
    assert rows(path, "SELECT status, errors FROM run") == [{"status": "ok", "errors": 2}]


async def test_a_graph_called_inside_a_node_is_part_of_the_same_run(trace, path):
    class State(TypedDict):
        n: int

    inner = StateGraph(State)
    inner.add_node("leaf", lambda state: {"n": state["n"] + 1})
    inner.add_edge(START, "leaf")
    compiled = inner.compile(name="inner")

    async def call(state):
        return await compiled.ainvoke(state)

    outer = StateGraph(State)
    outer.add_node("call", call)
    outer.add_edge(START, "call")
    result = await instrument(outer.compile(name="outer"), Pipeline([trace])).ainvoke({"n": 1})
    trace.flush()
    assert result == {"n": 2}
    spans = rows(path)
    assert len({span["run_id"] for span in spans}) == 1
    by_id = {span["id"]: span for span in spans}
    leaf = next(span for span in spans if span["name"] == "leaf")
    names = []
    while leaf is not None:
        names.append(leaf["name"])
        leaf = by_id.get(leaf["parent"])
    assert names == ["leaf", "inner", "call", "outer"]


async def test_concurrent_runs_do_not_mix_their_spans(trace, path):
    import asyncio

    class State(TypedDict):
        n: int

    async def step(state):
        await asyncio.sleep(0)
        return {"n": state["n"]}

    graph = StateGraph(State)
    graph.add_node("a", step)
    graph.add_node("b", step)
    graph.add_edge(START, "a")
    graph.add_edge("a", "b")
    app = instrument(graph.compile(), Pipeline([trace]))
    await asyncio.gather(*(app.ainvoke({"n": i}) for i in range(20)))
    trace.flush()
    assert len(rows(path, "SELECT * FROM run")) == 20
    for run in rows(path, "SELECT run, count(*) AS n, count(DISTINCT input) AS inputs FROM span GROUP BY run"):
        assert (run["n"], run["inputs"]) == (3, 1)
