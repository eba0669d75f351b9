"""Control flow, cancellation and names: what LangGraph promises a node must hold inside the pipeline too."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
from typing import Any, TypedDict

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import NodeCancelledError
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from chainops import Middleware, Pipeline, instrument, wrap
from chainops.adapters.boundary import rewind_interrupts
from chainops.layer import ALL_KINDS
from chainops.testing import ScriptedModel

THREAD: Any = {"configurable": {"thread_id": "t1"}}


class State(TypedDict, total=False):
    said: str


class Through(Middleware):
    suspends = False

    async def wrap_node_call(self, call: Any, call_next: Any) -> Any:
        return await call_next(call)


class InAnotherContext(Middleware):
    """Runs what it wraps in a task that has none of the caller's context variables."""

    kinds = ALL_KINDS

    async def wrap_node_call(self, call: Any, call_next: Any) -> Any:
        return await asyncio.get_running_loop().create_task(call_next(call), context=contextvars.Context())


def graph_of(node: Any, **options: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    return builder.compile(**options)


def test_reading_the_number_of_interrupts_takes_none() -> None:
    class Counter:
        _counter: Any = None

    class Scratchpad:
        interrupt_counter = Counter()

    config = {"configurable": {"__pregel_scratchpad": Scratchpad()}}
    assert rewind_interrupts(config, None) == 0
    rewind_interrupts(config, 2)
    numbers = Scratchpad.interrupt_counter._counter
    assert [rewind_interrupts(config, None), rewind_interrupts(config, None)] == [2, 2]
    assert Scratchpad.interrupt_counter._counter is numbers, "a tool on another thread may hold it"
    assert numbers() == 2


async def test_a_node_that_cancels_its_own_task_is_a_failed_node_as_without_layers() -> None:
    async def node(state: State) -> State:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        return {"said": "never"}

    for graph in (graph_of(node), instrument(graph_of(node), Pipeline([Through()]))):
        with pytest.raises(NodeCancelledError):
            await graph.ainvoke({})


async def test_a_timeout_inside_a_node_and_one_around_the_run_are_told_apart() -> None:
    async def node(state: State) -> State:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            return {"said": "timed out"}
        return {"said": "never"}

    async def stuck(state: State) -> State:
        await asyncio.Event().wait()
        return {}

    pipeline = Pipeline([Through()])
    assert await instrument(graph_of(node), pipeline).ainvoke({}) == {"said": "timed out"}
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(instrument(graph_of(stuck), pipeline).ainvoke({}), 0.05)


@pytest.mark.parametrize("sync", [False, True])
async def test_a_graph_inside_a_node_can_ask_a_human_whatever_context_a_layer_runs_it_in(sync: bool) -> None:
    inner = graph_of(lambda state: {"said": interrupt("approve?")})

    def node(state: State) -> Any:
        return inner.invoke({})

    graph = instrument(graph_of(node, checkpointer=InMemorySaver()), Pipeline([InAnotherContext()]))

    async def send(value: Any) -> Any:
        return await asyncio.to_thread(graph.invoke, value, THREAD) if sync else await graph.ainvoke(value, THREAD)

    asked = await send({})
    assert [i.value for i in asked["__interrupt__"]] == ["approve?"]
    assert (await send(Command(resume="yes")))["said"] == "yes"


@pytest.mark.parametrize("sync", [False, True])
async def test_a_model_inside_a_node_is_not_called_by_the_nodes_name(sync: bool) -> None:
    class Names(BaseCallbackHandler):
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
            self.seen.append(kwargs.get("name"))

    names = Names()
    model = ScriptedModel(["hi"], repeat=True, callbacks=[names])

    async def node(state: State, config: RunnableConfig) -> State:
        return {"said": str((await model.ainvoke("x", config)).text)}

    def sync_node(state: State, config: RunnableConfig) -> State:
        return {"said": str(model.invoke("x", config).text)}

    plain = graph_of(sync_node if sync else node)
    for graph in (plain, instrument(plain, Pipeline([Through()]))):
        await (asyncio.to_thread(graph.invoke, {}) if sync else graph.ainvoke({}))
    assert len(names.seen) == 2
    assert names.seen[0] == names.seen[1] != "node"


def test_a_wrapped_model_survives_pickling() -> None:
    model = ScriptedModel(["one", "two"])
    copy = pickle.loads(pickle.dumps(wrap(model)))
    assert isinstance(copy, ScriptedModel)
    assert copy.invoke("x").text == "one"
