"""Nodes, tools and retrievers in real graphs."""

import asyncio
import threading
from typing import Annotated, TypedDict

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, interrupt

from chainops import Middleware, instrument
from chainops.middleware.cache import Cache

from .conftest import Notes


class State(TypedDict):
    text: str
    said: str
    messages: Annotated[list[AnyMessage], add_messages]


RAN = []


@pytest.fixture(autouse=True)
def nothing_ran():
    RAN.clear()


class Seen(Middleware):
    """Keeps what the cache says about nodes and tools."""

    name = "access"

    def __init__(self):
        self.notes = Notes()

    async def wrap_node_call(self, call, call_next):
        return await call_next(call.replace(recorder=self.notes))

    async def wrap_tool_call(self, call, call_next):
        return await call_next(call.replace(recorder=self.notes))


def graph_of(node, *layers, settings=True, cache=None, name="node", **compile):
    builder = StateGraph(State)
    builder.add_node(name, node, metadata={"chainops": {"cache": settings}})
    builder.add_edge(START, name)
    return instrument(builder.compile(**compile), [*layers, cache or Cache(negative_ttl_s=0)])


def counted(version="1", **more):
    """A setting: cached, and its code not looked at (it counts, so it reads what changes)."""
    return {"node": True, "version": version, **more}


async def upper(state):
    RAN.append(state["text"])
    return {"said": state["text"].upper()}


async def test_a_node_runs_once_for_equal_states_and_again_for_others():
    graph = graph_of(upper, settings=counted())
    for text in ("a", "a", "b", "a"):
        assert (await graph.ainvoke({"text": text}))["said"] == text.upper()
    assert RAN == ["a", "b"]


async def test_nodes_are_not_cached_unless_they_ask_for_it():
    graph = graph_of(upper, settings={"ttl_s": 60})
    for _ in range(2):
        await graph.ainvoke({"text": "a"})
    assert RAN == ["a", "a"]


def test_synchronous_runs_share_with_each_other():
    graph = graph_of(lambda state: RAN.append(1) or {"said": "x"}, settings=counted())
    for _ in range(3):
        assert graph.invoke({"text": "a"})["said"] == "x"
    assert RAN == [1]


async def test_many_runs_at_once_run_the_node_once():
    async def slow(state):
        RAN.append(1)
        await asyncio.sleep(0.03)
        return {"said": "x"}

    graph = graph_of(slow, settings=counted())
    found = await asyncio.gather(*[graph.ainvoke({"text": "a"}) for _ in range(100)])
    assert {state["said"] for state in found} == {"x"}
    assert RAN == [1]


def test_synchronous_runs_at_once_run_the_node_once():
    entered, go = threading.Event(), threading.Event()

    def slow(state):
        RAN.append(1)
        entered.set()
        go.wait(10)
        return {"said": "x"}

    graph, found = graph_of(slow, settings=counted()), []
    threads = [threading.Thread(target=lambda: found.append(graph.invoke({"text": "a"})["said"])) for _ in range(4)]
    threads[0].start()
    entered.wait(10)
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert found == ["x"] * 4
    assert RAN == [1]


async def test_the_ids_of_messages_do_not_count_and_answers_are_new_messages():
    async def answer(state):
        RAN.append(1)
        return {"messages": [AIMessage("hello", id="fixed")]}

    graph = graph_of(answer, settings=counted())
    found = [(await graph.ainvoke({"messages": [HumanMessage("hi")]}))["messages"] for _ in range(3)]
    assert RAN == [1]
    assert [[m.text for m in messages] for messages in found] == [["hi", "hello"]] * 3
    assert len({messages[1].id for messages in found}) == 3


def make(word):
    def node(state):
        return {"said": word}

    return node


class Says:
    def __init__(self, word):
        self.word = word

    def __call__(self, state):
        RAN.append(self.word)
        return {"said": self.word}


async def test_two_graphs_with_nodes_of_one_name_do_not_get_each_others_results():
    """LangGraph's own cache gives the first graph's result to the second (langgraph#8753)."""
    cache = Cache()
    for word in ("one", "two", "one"):
        assert (await graph_of(make(word), cache=cache).ainvoke({"text": "a"}))["said"] == word


async def test_a_node_whose_code_cannot_be_told_is_not_cached_and_the_span_says_so():
    seen = Seen()
    graph = graph_of(Says("x"), seen)
    for _ in range(2):
        await graph.ainvoke({"text": "a"})
    assert RAN == ["x", "x"]
    assert "cannot be told across processes" in seen.notes.last()["why"]
    assert "Give it a version" in seen.notes.last()["why"]


async def test_a_version_by_hand_is_the_code():
    cache = Cache()
    for version, word in (("1", "one"), ("1", "two"), ("2", "three")):
        said = (await graph_of(Says(word), cache=cache, settings=counted(version)).ainvoke({"text": "a"}))["said"]
        assert said == {"two": "one"}.get(word, word)


async def test_what_the_run_is_given_beside_the_state_is_in_the_key():
    graph = graph_of(upper, settings=counted())
    for context, config in (({"a": 1}, {}), ({"a": 2}, {}), ({"a": 2}, {"configurable": {"language": "de"}})):
        for _ in range(2):
            await graph.ainvoke({"text": "a"}, config, context=context)
    assert len(RAN) == 3


async def test_a_node_that_asked_a_person_is_not_cached():
    def asks(state):
        RAN.append(1)
        return {"said": interrupt("well?")}

    seen = Seen()
    graph = graph_of(asks, seen, settings=counted(), checkpointer=InMemorySaver())
    for thread, answer in (("1", "yes"), ("2", "no")):
        config = {"configurable": {"thread_id": thread}}
        assert "__interrupt__" in await graph.ainvoke({"text": "a"}, config)
        assert (await graph.ainvoke(Command(resume=answer), config))["said"] == answer
    assert seen.notes.last()["why"] == "a person was asked on the way"


@pytest.mark.parametrize(
    "result",
    [
        Command(update={"said": "x"}),
        {"messages": [RemoveMessage(id="m1")]},
        {"messages": [AIMessage("new", id="m1")]},
        {"said": object()},
    ],
    ids=["command", "removal", "replacement", "object"],
)
async def test_results_that_belong_to_one_run_are_not_cached(result):
    seen = Seen()
    graph = graph_of(lambda state: RAN.append(1) or result, seen, settings=counted())
    for _ in range(2):
        await graph.ainvoke({"text": "a", "messages": [HumanMessage("hi", id="m1")]})
    assert RAN == [1, 1]
    assert seen.notes.last()["stored"] is False


@pytest.mark.parametrize("what", ["itself", "a surrogate", "an object"])
async def test_states_of_which_no_key_can_be_made_run_uncached(what):
    state = {"text": "\ud800" if what == "a surrogate" else "a"}
    loop = []
    loop.append(loop)
    given = {"itself": loop, "a surrogate": "\ud800", "an object": object()}[what]
    seen = Seen()
    builder = StateGraph(dict)
    builder.add_node("node", lambda state: RAN.append(1) or {"said": "x"}, metadata={"chainops": {"cache": counted()}})
    builder.add_edge(START, "node")
    graph = instrument(builder.compile(), [seen, Cache()])
    for _ in range(2):
        assert (await graph.ainvoke({**state, "given": given}))["said"] == "x"
    assert RAN == [1, 1]
    assert seen.notes.last()["why"]


async def test_a_failing_node_fails_each_time():
    async def fails(state):
        RAN.append(1)
        raise ValueError("x")

    graph = graph_of(fails, settings=counted())
    for _ in range(2):
        with pytest.raises(ValueError, match="x"):
            await graph.ainvoke({"text": "a"})
    assert RAN == [1, 1]


async def test_a_private_model_call_inside_makes_the_node_private():
    class Marks(Middleware):
        name = "pii"

        async def wrap_tool_call(self, call, call_next):
            call.mark_private()
            return await call_next(call)

    async def node(state):
        RAN.append(1)
        return {"said": await look.ainvoke({"text": "a"})}

    @tool
    async def look(text: str) -> str:
        """Look."""
        return text

    graph = graph_of(node, Marks(), settings=counted())
    for user in ("ada", "bob"):
        await graph.ainvoke({"text": "a"}, {"metadata": {"user": user}})
    assert RAN == [1, 1]
    graph = graph_of(node, Marks(), settings=counted(scope="user"))
    for user in ("ada", "bob", "ada"):
        await graph.ainvoke({"text": "a"}, {"metadata": {"user": user}})
    assert RAN == [1] * 4


async def test_tags_of_what_happened_inside_forget_the_node():
    class Uses(Middleware):
        name = "prompts"

        async def wrap_tool_call(self, call, call_next):
            call.artifact("prompt", "hello", "1")
            return await call_next(call)

    async def node(state):
        RAN.append(1)
        return {"said": await look.ainvoke({"text": "a"})}

    @tool
    async def look(text: str) -> str:
        """Look."""
        return text

    cache = Cache()
    graph = graph_of(node, Uses(), settings=counted(), cache=cache)
    await graph.ainvoke({"text": "a"})
    cache.flush()
    assert cache.invalidate("prompt:hello") == 1
    await graph.ainvoke({"text": "a"})
    assert RAN == [1, 1]


@tool
async def add_one(n: int) -> str:
    """Add one."""
    RAN.append(n)
    return str(n + 1)


@tool
async def asks_tool(n: int) -> str:
    """Ask a person."""
    RAN.append(n)
    return interrupt("well?")


async def uses_tool(state):
    return {"said": await add_one.ainvoke({"n": int(state["text"])})}


@pytest.mark.parametrize(("tools", "runs"), [((), 2), (("add_*",), 1), (("other",), 2)])
async def test_only_tools_said_to_be_pure_are_cached(tools, runs):
    versions = {"add_one": "1"}  # it counts in a global list, which changes what it is
    graph = graph_of(uses_tool, settings={}, cache=Cache(tools=tools, versions=versions))
    for _ in range(2):
        assert (await graph.ainvoke({"text": "1"}))["said"] == "2"
    assert [1] * runs == RAN


async def test_a_tool_can_say_itself_that_it_is_pure(monkeypatch):
    monkeypatch.setattr(add_one, "metadata", {"chainops": {"pure": True}})
    graph = graph_of(uses_tool, settings={}, cache=Cache(versions={"add_one": "1"}))
    for _ in range(2):
        await graph.ainvoke({"text": "1"})
    assert RAN == [1]


async def test_a_cached_tool_answers_the_call_that_asked():
    async def node(state):
        call = {"name": "add_one", "args": {"n": 1}, "id": state["text"], "type": "tool_call"}
        return {"messages": [await add_one.ainvoke(call)]}

    graph = graph_of(node, settings={}, cache=Cache(tools=["*"], versions={"*": "1"}))
    found = [(await graph.ainvoke({"text": name}))["messages"][-1] for name in ("c1", "c2")]
    assert [(m.text, m.tool_call_id) for m in found] == [("2", "c1"), ("2", "c2")]
    assert RAN == [1]


async def test_a_tool_that_asked_a_person_is_not_cached():
    async def node(state):
        return {"said": await asks_tool.ainvoke({"n": 1})}

    cache = Cache(tools=["*"], versions={"*": "1"})
    graph = graph_of(node, settings={}, cache=cache, checkpointer=InMemorySaver())
    for thread, answer in (("1", "yes"), ("2", "no")):
        config = {"configurable": {"thread_id": thread}}
        assert "__interrupt__" in await graph.ainvoke({"text": "a"}, config)
        assert (await graph.ainvoke(Command(resume=answer), config))["said"] == answer


async def test_a_tool_that_answers_with_an_error_is_not_cached():
    from langchain_core.tools import ToolException

    @tool
    async def fails(n: int) -> str:
        """Fail."""
        RAN.append(n)
        raise ToolException("not now")

    fails.handle_tool_error = True

    async def node(state):
        call = {"name": "fails", "args": {"n": 1}, "id": "c1", "type": "tool_call"}
        return {"messages": [await fails.ainvoke(call)]}

    graph = graph_of(node, settings={}, cache=Cache(tools=["*"], versions={"*": "1"}))
    for _ in range(2):
        assert (await graph.ainvoke({"text": "a"}))["messages"][-1].status == "error"
    assert RAN == [1, 1]


class Shelf(BaseRetriever):
    documents: list[Document]

    def _get_relevant_documents(self, query, *, run_manager=None):
        RAN.append(query)
        return self.documents


async def test_a_retriever_that_says_what_it_is_is_cached_and_a_document_forgets_what_found_it():
    shelf, cache = Shelf(documents=[Document("text", id="d1", metadata={"source": "faq.md"})]), Cache()

    async def node(state):
        found = await shelf.ainvoke(state["text"])
        found[0].metadata["mine"] = True
        return {"said": str(sorted(found[0].metadata))}

    graph = graph_of(node, settings={}, cache=cache)
    shelf = shelf.model_copy()
    cache.asking.versions = {"Shelf": "1"}
    for _ in range(3):
        assert (await graph.ainvoke({"text": "a"}))["said"] == "['mine', 'source']"
    assert RAN == ["a"]
    cache.flush()
    assert cache.invalidate("document:faq.md") == 1
    await graph.ainvoke({"text": "a"})
    assert RAN == ["a", "a"]


async def test_tasks_are_cached_like_nodes():
    @task
    async def double(n: int, *, times: int = 2):
        RAN.append(n)
        return n * times

    @entrypoint()
    async def flow(n: int):
        return [await double(n), await double(n), await double(n, times=3)]

    from chainops import Pipeline

    graph = instrument(flow, Pipeline([Cache()], nodes={"flow/double": {"cache": counted()}}))
    assert await graph.ainvoke(2) == [4, 4, 6]
    assert RAN == [2, 2]
