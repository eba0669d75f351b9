"""The layer memory: what is remembered stands before the question of the person it is about, and of nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.store.memory import InMemoryStore

from chainops import App, Middleware, Pipeline, SetupError, instrument
from chainops.adapters.memory import graph_store, memory_tools
from chainops.calls import RunContext
from chainops.memory import Memories
from chainops.middleware.memory import Memory
from chainops.middleware.memory.middleware import HEAD
from chainops.testing import MiddlewareConformance, ScriptedModel, model_call


class TestMemory(MiddlewareConformance):
    def make(self) -> Middleware:
        return Memory(InMemoryStore())


async def known(store: Any, user: str = "ada") -> Memories:
    memories = Memories(store)
    await memories.consent(user)
    await memories.remember(user, "Ada never drinks coffee.")
    return memories


async def sent(layer: Memory, text: str = "Coffee or tea?", **metadata: Any) -> Any:
    model = ScriptedModel(["ok"], repeat=True)
    call = model_call(
        messages=(SystemMessage("Be kind."), HumanMessage(text)), run=RunContext(run_id="r", metadata=metadata)
    )
    await Pipeline([layer]).around_model(model)(call)
    return list(model.calls[-1]), call


async def test_what_fits_the_question_stands_before_it() -> None:
    store = InMemoryStore()
    await known(store)
    messages, call = await sent(Memory(store), user="ada")
    assert [m.text for m in messages] == ["Be kind.", f"{HEAD}\n- Ada never drinks coffee.", "Coffee or tea?"]
    assert call.guard.marks.private, "the answer is for this user alone"
    assert len(call.guard.marks.notes["memory"]["recalled"]) == 1


@pytest.mark.parametrize("metadata", [{}, {"user": "bob"}, {"user": "ada", "tenant": "other"}])
async def test_nobody_else_is_told(metadata: dict[str, str]) -> None:
    store = InMemoryStore()
    await known(store)
    messages, call = await sent(Memory(store), **metadata)
    assert len(messages) == 2 and (call.guard.marks is None or not call.guard.marks.private)


async def test_what_has_nothing_to_do_with_the_question_is_left_out() -> None:
    store = InMemoryStore()
    await known(store)
    messages, _ = await sent(Memory(store), "When is the gate open?", user="ada")
    assert len(messages) == 2


async def test_a_store_that_fails_does_not_break_the_call() -> None:
    class Broken(InMemoryStore):
        async def aget(self, *args: Any, **kwargs: Any) -> Any:
            raise OSError("disk gone")

    messages, call = await sent(Memory(Broken()), user="ada")
    assert len(messages) == 2 and call.guard.marks.notes["memory"]["failed"] == "OSError: disk gone"


def graph(model: ScriptedModel, pipeline: Any, store: Any, tools: Any = ()) -> Any:
    async def ask(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    if tools:
        builder.add_node("tools", ToolNode(tools))
        builder.add_edge("ask", "tools")
    return instrument(builder.compile(store=store), pipeline)


async def test_a_graphs_own_store_is_found_and_facts_pass_from_one_session_to_the_next() -> None:
    store = InMemoryStore()
    memories = Memories(store)
    await memories.consent("ada")
    call = {"name": "remember_fact", "args": {"fact": "Ada never drinks coffee."}, "id": "1"}
    learns = graph(ScriptedModel([AIMessage("", tool_calls=[call])]), Pipeline([]), store, memory_tools(memories))
    await learns.ainvoke({"messages": [("user", "I never drink coffee.")]}, {"metadata": {"user": "ada"}})
    model = ScriptedModel(["Tea."], repeat=True)
    later = graph(model, Pipeline([Memory(graph_store)]), store)
    for user in ("ada", "bob"):
        await later.ainvoke({"messages": [("user", "Coffee or tea?")]}, {"metadata": {"user": user}})
    assert "- Ada never drinks coffee." in model.calls[0][0].text and len(model.calls[1]) == 1


def test_a_synchronous_run_recalls_too() -> None:
    store = InMemoryStore()
    memories = Memories(store)

    import asyncio

    async def fill() -> None:
        await memories.consent("ada")
        await memories.remember("ada", "Ada never drinks coffee.")

    asyncio.run(fill())
    model = ScriptedModel(["Tea."])

    def ask(state: MessagesState) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    found = instrument(builder.compile(store=store), Pipeline([Memory(graph_store)]))
    found.invoke({"messages": [("user", "Coffee or tea?")]}, {"metadata": {"user": "ada"}})
    assert len(model.calls[0]) == 2


async def test_the_tools_remember_and_forget_for_the_person_of_the_run_only() -> None:
    memories = Memories(InMemoryStore())
    await memories.consent("ada")
    remember, forget = memory_tools(memories)
    ada: Any = {"metadata": {"user": "ada"}}
    assert (await remember.ainvoke({"fact": "Ada likes tea."}, ada)).startswith("Remembered as ")
    assert "not agreed" in await remember.ainvoke({"fact": "Bob likes tea."}, {"metadata": {"user": "bob"}})
    assert "nobody knows" in await remember.ainvoke({"fact": "x"}, {})
    assert "Nothing like this" in await forget.ainvoke({"fact": "tea"}, ada)
    assert await forget.ainvoke({"fact": "ada likes tea."}, ada) == "Forgotten."
    assert await memories.facts("ada") == []


def test_settings_make_the_layer() -> None:
    app = App(pipeline={"middleware": ["memory", "compress"]}, memory={"limit": 2}, compress={"recall": True})
    layer = app.pipeline.middleware[0]
    assert isinstance(layer, Memory) and layer.limit == 2
    with pytest.raises(SetupError, match=r"memory\.limit"):
        Memory(InMemoryStore(), limit=0)
