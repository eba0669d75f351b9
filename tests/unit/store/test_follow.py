"""A follower hears of everything that ended, once as a rule and at least once always, and is in nobody's way."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

from chainops import Pipeline, instrument
from chainops.middleware.trace import Trace
from chainops.store.follow import Follower, Found, follow_table
from chainops.store.followed import Place
from chainops.testing import MiddlewareConformance, ScriptedModel

TABLE = follow_table("heard")


class Heard(Follower):
    plugin = "heard"
    migrations = (TABLE,)

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"every_s": 0.01, **options})
        self.spans: list[str] = []
        self.scores: list[tuple[str, float | None]] = []
        self.broken: Exception | None = None
        self.asked = threading.Event()

    def deliver(self, found: Found) -> None:
        self.asked.set()
        if self.broken is not None:
            raise self.broken
        self.spans += [f"{span.kind} {span.name}" for _, span in found.spans]
        self.scores += [(score.name, score.value) for _, span, score in found.scores if span.kind == "node"]


class TestConformance(MiddlewareConformance):
    def make(self) -> Heard:
        return Heard()


def graph_of(*layers: Any) -> Any:
    model = ScriptedModel(["fine"] * 50)

    async def answer(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return instrument(builder.compile(), Pipeline(layers))


def until(true: Any, problem: str) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, problem
        time.sleep(0.005)


async def run(file: Path, heard: Heard, times: int = 1) -> None:
    trace = Trace(file)
    graph = graph_of(trace, heard)
    for _ in range(times):
        await graph.ainvoke({"messages": ["hi"]})
    heard.close()
    trace.close()


ONE = ["run LangGraph", "node answer", "model scripted"]


async def test_all_that_ended_is_delivered_once_while_the_application_runs(tmp_path: Path) -> None:
    trace, heard = Trace(tmp_path / "t.db"), Heard()
    graph = graph_of(trace, heard)
    for i in range(3):
        await graph.ainvoke({"messages": ["hi"]})
        until(lambda i=i: len(heard.spans) == 3 * (i + 1), "a run was not delivered while the application runs")
    heard.close()
    trace.close()
    assert sorted(heard.spans) == sorted(ONE * 3)


async def test_closing_delivers_what_waits_and_the_next_process_does_not_hear_it_again(tmp_path: Path) -> None:
    first, second = Heard(every_s=60), Heard(every_s=60)
    await run(tmp_path / "t.db", first, 2)
    assert sorted(first.spans) == sorted(ONE * 2)
    await run(tmp_path / "t.db", second)
    assert sorted(second.spans) == sorted(ONE)


async def test_what_could_not_be_delivered_comes_again_in_the_next_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = Heard(), Heard()
    first.broken = OSError("nobody listens")
    with caplog.at_level(logging.WARNING, "chainops"):
        await run(tmp_path / "t.db", first, 2)
    assert first.spans == []
    assert "Plugin heard cannot deliver and tries again: nobody listens" in caplog.text
    await run(tmp_path / "t.db", second)
    assert sorted(second.spans) == sorted(ONE * 3)


async def test_it_goes_on_where_the_receiver_comes_back(tmp_path: Path) -> None:
    trace, heard = Trace(tmp_path / "t.db"), Heard()
    heard.broken = OSError("nobody listens")
    await graph_of(trace, heard).ainvoke({"messages": ["hi"]})
    assert heard.asked.wait(10)
    heard.broken = None
    until(lambda: len(heard.spans) == 3, "it did not try again")
    heard.close()
    trace.close()


async def test_what_was_in_the_file_before_is_not_delivered_and_scores_are(tmp_path: Path) -> None:
    file = tmp_path / "t.db"
    before = Trace(file)
    await graph_of(before).ainvoke({"messages": ["hi"]})
    before.close()
    trace, heard = Trace(file), Heard()
    model = ScriptedModel(["fine"])

    class Judge(Follower):  # any layer: it scores the node's span
        plugin, migrations = "heard", (TABLE,)
        kinds = frozenset({"node"})

        async def wrap_node_call(self, call: Any, call_next: Any) -> Any:
            call.recorder.score("good", 0.5, source="rule")
            return await call_next(call)

    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_edge(START, "answer")
    await instrument(builder.compile(), [trace, heard, Judge()]).ainvoke({"messages": ["hi"]})
    heard.close()
    trace.close()
    assert sorted(heard.spans) == sorted(ONE)
    assert heard.scores == [("good", 0.5)]


async def test_a_long_run_is_delivered_span_by_span_and_hides_no_later_one(tmp_path: Path) -> None:
    import asyncio

    trace, heard, gate = Trace(tmp_path / "t.db"), Heard(), asyncio.Event()

    async def first(state: MessagesState) -> Any:
        return {"messages": []}

    async def second(state: MessagesState) -> Any:
        await gate.wait()
        return {"messages": []}

    builder = StateGraph(MessagesState)
    builder.add_node("first", first)
    builder.add_node("second", second)
    builder.add_edge(START, "first")
    builder.add_edge("first", "second")
    slow = asyncio.create_task(instrument(builder.compile(), [trace, heard]).ainvoke({"messages": []}))

    async def heard_of(count: int) -> None:
        for _ in range(2000):
            if len(heard.spans) >= count:
                return
            await asyncio.sleep(0.005)

    await heard_of(1)
    assert heard.spans == ["node first"], "a node that ended in a run that goes on is delivered at once"
    await graph_of(trace, heard).ainvoke({"messages": ["hi"]})
    await heard_of(4)
    assert sorted(heard.spans) == sorted([*ONE, "node first"])
    gate.set()
    await slow
    await heard_of(6)
    heard.close()
    trace.close()
    assert sorted(heard.spans) == sorted([*ONE, "node first", "node second", "run LangGraph"])


async def test_a_run_that_waits_for_a_person_is_delivered(tmp_path: Path) -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    trace, heard = Trace(tmp_path / "t.db"), Heard()
    builder = StateGraph(MessagesState)
    builder.add_node("ask", lambda state: {"messages": [interrupt("sure?")]})
    builder.add_edge(START, "ask")
    graph = instrument(builder.compile(InMemorySaver()), [trace, heard])
    await graph.ainvoke({"messages": []}, {"configurable": {"thread_id": "1"}})
    heard.close()
    trace.close()
    assert sorted(heard.spans) == ["node ask", "run LangGraph"]


async def test_one_place_is_served_by_one_process_at_a_time(tmp_path: Path) -> None:
    file, now = tmp_path / "t.db", time.time_ns()
    trace = Trace(file)
    await graph_of(trace).ainvoke({"messages": ["hi"]})
    trace.close()
    one, other = Place(file, "heard", (TABLE,), 0), Place(file, "heard", (TABLE,), now)
    assert one.mine() and one.mine()
    assert not other.mine(), "two processes deliver at once"
    assert len(one.look().spans) == 3
    assert len(one.look().spans) == 3, "what was not passed must be found again"
    one.passed()
    assert not one.look()
    one.close()
    assert other.mine()
    assert len(other.look().spans) == 3, "a run that has just ended may be delivered twice, never not at all"
    other.look(last=True)
    other.passed()
    other.close()
    third = Place(file, "heard", (TABLE,), now)
    assert third.mine()
    assert not third.look()
    third.close()


async def test_a_dead_process_loses_its_place_when_its_lease_ends(tmp_path: Path) -> None:
    file = tmp_path / "t.db"
    trace = Trace(file)
    await graph_of(trace).ainvoke({"messages": ["hi"]})
    trace.close()
    dead, heir = Place(file, "heard", (TABLE,), 0), Place(file, "heard", (TABLE,), 0)
    assert dead.mine() and not heir.mine()
    with sqlite3.connect(file) as db:
        db.execute("UPDATE heard_followed SET until_ns = ?", (time.time_ns() - 1,))
    db.close()
    assert heir.mine()
    heir.close()
    dead.close()


def test_a_program_that_closes_nothing_delivers_at_its_end(tmp_path: Path) -> None:
    code = (
        "from chainops.middleware.trace import Trace\n"
        "from langgraph.graph import START, MessagesState, StateGraph\n"
        "from chainops import instrument\n"
        "from chainops.store.follow import Follower, follow_table\n"
        "class Say(Follower):\n"
        "    plugin, migrations = 'say', (follow_table('say'),)\n"
        "    def deliver(self, found):\n"
        "        for _, span in found.spans: print(span.kind, flush=True)\n"
        "builder = StateGraph(MessagesState)\n"
        "builder.add_node('n', lambda state: {'messages': []})\n"
        "builder.add_edge(START, 'n')\n"
        "instrument(builder.compile(), [Trace('t.db'), Say(every_s=60)]).invoke({'messages': []})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, env=dict(os.environ)
    )
    assert done.stderr == ""
    assert sorted(done.stdout.split()) == ["node", "run"]


async def test_without_a_trace_nothing_is_followed(tmp_path: Path) -> None:
    heard = Heard()
    await graph_of(heard).ainvoke({"messages": ["hi"]})
    heard.close()
    assert heard.spans == []
    assert list(tmp_path.iterdir()) == []
