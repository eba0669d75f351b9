"""Placeholders mean something in one thread: no cache serves one thread what belongs to another."""

from __future__ import annotations

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph

import chainops
from chainops.middleware.cache import Cache
from chainops.middleware.pii import Pii
from chainops.middleware.semantic_cache import SemanticCache
from chainops.pipeline import Pipeline
from chainops.testing import ScriptedModel


def asked(text):
    return {"messages": [HumanMessage(text, id="h1")]}


def thread(name):
    return {"configurable": {"thread_id": name}, "metadata": {"user": "u"}}


def graph_of(node, pipeline, **options):
    builder = StateGraph(MessagesState)
    builder.add_node("answer", node, **options)
    builder.add_edge(START, "answer")
    return chainops.instrument(builder.compile(), Pipeline(pipeline))


def chat(model, pipeline):
    async def answer(state):
        return {"messages": [await model.ainvoke(state["messages"], temperature=0)]}

    return graph_of(answer, pipeline)


async def last(graph, text, name):
    return (await graph.ainvoke(asked(text), thread(name)))["messages"][-1].text


async def test_an_answer_that_only_speaks_of_what_it_was_given_is_served_to_all_threads_with_their_own_values():
    model = ScriptedModel([lambda messages: f"I wrote to {messages[-1].text.split()[-1]}"])
    graph = chat(model, [Pii(), Cache()])
    assert await last(graph, "Write to a@b.io", "t1") == "I wrote to a@b.io"
    assert await last(graph, "Write to c@d.io", "t2") == "I wrote to c@d.io"
    assert len(model.calls) == 1


async def test_an_answer_with_a_value_of_its_own_is_not_served_to_another_thread():
    model = ScriptedModel(["Ask help@shop.example"], repeat=True)
    graph = chat(model, [Pii(), Cache()])
    assert await last(graph, "Whom?", "t1") == "Ask help@shop.example"
    await last(graph, "I am bob@b.io", "t2")  # the first address of this thread is another one
    assert await last(graph, "Whom?", "t2") == "Ask help@shop.example"
    assert len(model.calls) == 3


async def test_the_semantic_cache_keeps_no_such_answer(embedder):
    model = ScriptedModel(["Ask help@shop.example"], repeat=True)
    semantic = SemanticCache(embedder, mode="on")
    graph = chat(model, [Pii(), semantic])
    await last(graph, "Whom do I ask?", "t1")
    await last(graph, "I am bob@b.io", "t2")
    assert await last(graph, "Whom do I ask?", "t2") == "Ask help@shop.example"
    semantic.close()


async def test_a_tool_that_gets_values_is_asked_again_for_another_value():
    got = []

    @tool
    def balance(mail: str) -> str:
        """Say the balance."""
        got.append(mail)
        return f"{len(mail)} EUR"

    async def answer(state):
        return {"messages": [("ai", await balance.ainvoke({"mail": state["messages"][-1].text}))]}

    graph = graph_of(answer, [Pii(plain_tools=["balance"]), Cache(tools=("balance",), versions={"balance": "1"})])
    assert await last(graph, "ann@b.io", "t1") == "8 EUR"
    assert await last(graph, "carola@d.io", "t2") == "11 EUR"
    assert await last(graph, "ann@b.io", "t3") == "8 EUR"
    assert got == ["ann@b.io", "carola@d.io"]


async def test_a_node_that_gets_values_is_run_again_for_another_value():
    got = []

    async def answer(state):
        got.append(state["messages"][-1].text)
        return {"messages": [("ai", f"{len(got[-1])} letters")]}

    options = {"metadata": {"chainops": {"pii": {"plain": True}, "cache": {"node": True, "version": "1"}}}}
    graph = graph_of(answer, [Pii(), Cache()], **options)
    assert await last(graph, "ann@b.io", "t1") == "8 letters"
    assert await last(graph, "carola@d.io", "t2") == "11 letters"
    assert await last(graph, "ann@b.io", "t3") == "8 letters"
    assert got == ["ann@b.io", "carola@d.io"]


@pytest.mark.parametrize("negative_ttl_s", [0, 60])
async def test_an_error_with_a_value_of_its_own_is_not_told_to_another_thread(negative_ttl_s):
    from chainops.errors import CallError

    class NotThere(CallError):
        code = "call.not_there"

    @tool
    def look(who: str) -> str:
        """Look."""
        raise NotThere("Ask help@shop.example", hint="Later.")

    async def answer(state):
        try:
            await look.ainvoke({"who": "x"})
        except NotThere as error:
            return {"messages": [("ai", error.message)]}

    graph = graph_of(answer, [Pii(), Cache(tools=("look",), versions={"look": "1"}, negative_ttl_s=negative_ttl_s)])
    assert await last(graph, "?", "t1") == "Ask help@shop.example"
    assert await last(graph, "I am bob@b.io", "t2") == "Ask help@shop.example"
