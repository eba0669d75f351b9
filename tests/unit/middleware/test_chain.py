"""Versions of whole chains: every run names its own, a thread can keep it."""

from __future__ import annotations

import json
import logging
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

import chainops
from chainops import CallError, Middleware, Pipeline, instrument
from chainops.errors import StoreError
from chainops.middleware.chain import Chain
from chainops.middleware.chain.difference import differences
from chainops.middleware.prompts import Prompts
from chainops.middleware.prompts.splits import kill, start
from chainops.middleware.trace import Trace
from chainops.store.artifacts import Artifacts
from chainops.store.pins import unpin_thread
from chainops.store.registry import Registry
from chainops.testing import MiddlewareConformance, ScriptedModel


class TestChain(MiddlewareConformance):
    @pytest.fixture(autouse=True)
    def database(self, tmp_path: Path) -> None:
        self.path = tmp_path / "chains.db"

    def make(self) -> Middleware:
        return Chain(self.path)


class Shop:
    """Prompt "ask" with two versions; "prod" points to the first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = Artifacts(path)
        for text in ("one", "two"):
            self.store.add("prompt", "ask", {"messages": [{"role": "user", "template": text}]}, author="ann")
        self.promote(1)
        self.model = ScriptedModel(["."], repeat=True)

    def promote(self, version: int) -> None:
        self.store.move("prompt", "ask", "prod", version, who="ann")

    def graph(self, *, ask_person: bool = False, extra: bool = False, layers: Any = (), **options: Any) -> Any:
        model = self.model

        async def answer(state: MessagesState) -> dict[str, Any]:
            if ask_person:
                interrupt("go on?")
            return {"messages": [await model.ainvoke(chainops.prompt("ask").messages())]}

        async def more(state: MessagesState) -> dict[str, Any]:
            return {}

        builder = StateGraph(MessagesState)
        builder.add_node("answer", answer)
        builder.add_edge(START, "answer")
        if extra:
            builder.add_node("more", more)
            builder.add_edge("answer", "more")
        self.trace = Trace(self.path)
        pipeline = Pipeline([self.trace, Chain(self.path, **options), *layers, Prompts(self.path, max_age_s=0)])
        return instrument(builder.compile(checkpointer=InMemorySaver(), name="desk"), pipeline)

    async def run(self, graph: Any, thread: str = "t", value: Any = None) -> str:
        given = {"messages": [("human", "hi")]} if value is None else value
        await graph.ainvoke(given, {"configurable": {"thread_id": thread}})
        return str(self.model.calls[-1][0].text) if self.model.calls else ""

    def spans(self, kind: str) -> list[tuple[list[Any], dict[str, Any]]]:
        self.trace.close()
        with closing(sqlite3.connect(self.path)) as db:
            rows = db.execute(
                "SELECT artifacts, attributes FROM span WHERE kind = ? ORDER BY start_ns", (kind,)
            ).fetchall()
        return [(json.loads(a or "[]"), json.loads(b or "{}")) for a, b in rows]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "chains.db")


async def test_every_run_and_every_model_call_names_the_version_of_its_chain(shop: Shop) -> None:
    graph = shop.graph()
    await shop.run(graph)
    await shop.run(graph, "u")
    chain = {"kind": "chain", "name": "desk", "version": "1"}
    assert [chain in artifacts for artifacts, _ in shop.spans("run") + shop.spans("model")] == [True] * 4
    version = Registry(shop.path, "chain").look().resolve("desk")
    assert version.version == 1
    assert {attributes["chain"]["sha256"] for _, attributes in shop.spans("run")} == {version.sha256}
    assert version.value()["versions"]["prompt"] == {"ask@prod": 1}
    assert sorted(version.value()["nodes"]) == ["__start__", "answer"]


async def test_the_version_changes_with_promotions_code_layers_and_goes_back_with_them(shop: Shop) -> None:
    numbers = []
    for extra, version in [(False, 1), (False, 2), (True, 1), (False, 1)]:
        shop.promote(version)
        await shop.run(shop.graph(extra=extra))
        numbers.append(int(shop.spans("run")[-1][1]["chain"]["version"]))
    assert numbers == [1, 2, 3, 1]
    view = Registry(shop.path, "chain").look()
    first, second, third = (view.resolve("desk", number).value() for number in (1, 2, 3))
    assert differences(first, second) == ["prompt ask@prod: version 1 → 2"]
    assert "node more was added" in differences(first, third)
    assert any(line.startswith("edge answer → more was added") for line in differences(first, third))
    assert differences(first, first) == []


def test_the_version_is_the_same_in_every_process(tmp_path: Path) -> None:
    code = """if True:
        import asyncio, sys
        from langgraph.graph import START, MessagesState, StateGraph
        from chainops import Pipeline, instrument
        from chainops.middleware.chain import Chain
        from chainops.store.registry import Registry
        def node(state): return {}
        builder = StateGraph(MessagesState); builder.add_node("n", node); builder.add_edge(START, "n")
        graph = instrument(builder.compile(name="g"), Pipeline([Chain(sys.argv[1])]))
        asyncio.run(graph.ainvoke({"messages": []}))
        print(Registry(sys.argv[1], "chain").look().resolve("g").sha256)
    """
    got = [
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / f"{i}.db")], capture_output=True, text=True, check=True
        )
        for i in range(2)
    ]
    assert got[0].stdout == got[1].stdout and len(got[0].stdout) == 65


async def test_a_pinned_thread_keeps_its_prompts_across_a_promotion_and_across_processes(shop: Shop) -> None:
    graph = shop.graph(pin_threads=True)
    assert await shop.run(graph, "old") == "one"
    shop.promote(2)
    assert await shop.run(graph, "old") == "one"
    assert await shop.run(graph, "new") == "two"
    assert await shop.run(shop.graph(pin_threads=True), "old") == "one"
    assert await shop.run(shop.graph(), "old") == "two"
    assert unpin_thread(shop.path, "desk", "old") and not unpin_thread(shop.path, "desk", "old")
    assert await shop.run(graph, "old") == "two"


async def test_the_kill_switch_of_a_split_reaches_pinned_threads(shop: Shop) -> None:
    arms = {"arms": [{"version": 2, "weight": 1}, {"version": 1, "weight": 0}], "unit": "thread"}
    start(shop.path, "ask", "prod", arms, who="ann")
    graph = shop.graph(pin_threads=True)
    assert [await shop.run(graph), await shop.run(graph)] == ["two", "two"]
    kill(shop.path, "ask", "prod", who="ann", why="bad")
    assert await shop.run(graph) == "one"


async def test_a_resumed_run_of_a_pinned_thread_goes_on_with_the_versions_it_began_with(shop: Shop) -> None:
    graph = shop.graph(ask_person=True, pin_threads=True)
    await shop.run(graph)
    shop.promote(2)
    assert await shop.run(graph, value=Command(resume="yes")) == "one"


class Louder(Middleware):
    def __init__(self, volume: int) -> None:
        self.volume = volume


async def test_code_that_changed_since_a_thread_began_is_said_or_refused(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    assert await shop.run(shop.graph(pin_threads=True, layers=[Louder(1)])) == "one"
    shop.promote(2)
    with caplog.at_level(logging.WARNING, "chainops"):
        assert await shop.run(shop.graph(pin_threads=True, layers=[Louder(2)])) == "one"
    assert "layer louder: volume changed" in caplog.text
    assert shop.spans("run")[-1][1]["chain"]["drift"] == ["layer louder: volume changed"]
    refusing = shop.graph(pin_threads=True, on_drift="error", layers=[Louder(1)])
    with pytest.raises(CallError, match="on_drift changed") as caught:
        await shop.run(refusing)
    assert caught.value.code == "chain.drift"


async def test_without_a_database_a_run_goes_on_unless_its_thread_must_be_pinned(tmp_path: Path) -> None:
    broken = tmp_path / "none.db"
    broken.write_text("this is no database" * 100)

    def made(**options: Any) -> Any:
        builder = StateGraph(MessagesState)
        builder.add_node("n", lambda state: {})
        builder.add_edge(START, "n")
        return instrument(builder.compile(), Pipeline([Chain(broken, **options)]))

    config = {"configurable": {"thread_id": "t"}}
    assert made().invoke({"messages": []}, config) == {"messages": []}
    with pytest.raises(StoreError):
        made(pin_threads=True).invoke({"messages": []}, config)


def test_a_changed_model_file_is_told_from_changed_code() -> None:
    def chain(sha: str, code: str = "x") -> dict[str, Any]:
        model = {"kind": "own", "identity": {"model_sha256": sha, "n_ctx": 8}}
        return {"graph": "g", "nodes": {"n": {"code": {"code": code, "model": model}}}}

    assert differences(chain("a" * 64), chain("b" * 64)) == [f"model file changed: {'a' * 12} → {'b' * 12}"]
    assert differences(chain("a"), chain("a", "y")) == ["node n: its code, or what it uses, changed"]


@pytest.mark.llama
async def test_every_stored_answer_names_its_prompt_its_model_file_and_its_chain(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python (the [llama] extra)")
    from chainops.cli.asking import chat_model

    shop = Shop(tmp_path / "chains.db")
    model: Any = chat_model(None)
    content = {"messages": [{"role": "user", "template": "How much is shipping?"}]}
    shop.store.add("prompt", "ask", content, author="ann")
    shop.promote(3)
    shop.model = model
    graph = shop.graph()
    answers = [(await graph.ainvoke({"messages": []}, {"configurable": {"thread_id": t}}))["messages"] for t in "ab"]
    model.close()
    assert answers[0][-1].text == answers[1][-1].text and "fifty" in answers[0][-1].text
    for artifacts, attributes in shop.spans("model"):
        named = {(a["kind"], a["name"]): a["version"] for a in artifacts}
        assert named["chain", "desk"] == "1" and named["prompt", "ask"] == "3"
        assert [v for (kind, _), v in named.items() if kind == "model"] == [model.sha256]
        assert len(attributes["chain"]["sha256"]) == 64 and len(attributes["prompts"]["asked"]["sha256"]) == 64
