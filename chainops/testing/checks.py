"""What every middleware must keep true, one function for each, on real LangGraph graphs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any, TypedDict

from chainops.pipeline import Middleware, Pipeline

__all__ = ["CHECKS", "PATIENCE", "Make"]

Make = Callable[[], Middleware]
PATIENCE = 10.0  # seconds until a check calls something stuck


class _Boom(ValueError):
    """Raised by engines, to see whether it arrives as it is."""


def _graph(node: Any, make: Make, *, checkpointer: bool = False) -> Any:
    from langchain_core.messages import AnyMessage
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import START, StateGraph
    from langgraph.graph.message import add_messages

    from chainops.adapters.langgraph import instrument

    state = TypedDict("state", {"messages": Annotated[list[AnyMessage], add_messages], "said": str})  # noqa: UP013
    builder = StateGraph(state)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    return instrument(builder.compile(checkpointer=InMemorySaver() if checkpointer else None), Pipeline([make()]))


def _model(script: list[Any], **options: Any) -> Any:
    from chainops.testing.model import ScriptedModel

    return ScriptedModel(script, **options)


async def interrupts_reach_the_human(make: Make) -> None:
    """A node's ``interrupt()`` stops the run, and its answer arrives after the resume, asked for once."""
    from langgraph.types import Command, interrupt

    asked: list[str] = []

    def node(state: Any) -> Any:
        answer = interrupt("approve?")
        asked.append(answer)
        return {"said": answer}

    for sync in (False, True):
        asked.clear()
        graph, config = _graph(node, make, checkpointer=True), {"configurable": {"thread_id": "1"}}

        async def send(value: Any, sync: bool = sync, graph: Any = graph, config: Any = config) -> Any:
            if sync:
                return await asyncio.to_thread(graph.invoke, value, config)
            return await graph.ainvoke(value, config)

        first = await send({"messages": []})
        assert "__interrupt__" in first, f"the interrupt was swallowed: the run ended with {first!r}"
        second = await send(Command(resume="yes"))
        assert "__interrupt__" not in second, "the human was asked twice"
        assert asked == ["yes"], f"the node got {asked!r}, not the human's answer 'yes'"
        assert second.get("said") == "yes", f"the resumed node's result was lost: {second!r}"


def _tool(work: Callable[[], Awaitable[str]]) -> Any:
    from langchain_core.tools import StructuredTool

    return StructuredTool.from_function(coroutine=work, name="work", description="Does the work.")


def _nodes(work: Callable[[], Awaitable[str]], went_on: list[str] | None = None) -> dict[str, Any]:
    """Nodes that do ``work`` themselves, in a model and in a tool, by kind; who gets past it stands in ``went_on``."""
    from chainops.testing.model import ScriptedModel

    class Worker(ScriptedModel):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
            await work()
            return await super()._agenerate(*args, **kwargs)

    model, tool = Worker(script=["done"] * 20), _tool(work)
    past = [] if went_on is None else went_on

    async def node(state: Any) -> Any:
        said = await work()
        past.append("node")
        return {"said": said}

    async def model_node(state: Any) -> Any:
        message = await model.ainvoke("hi")
        past.append("model")
        return {"messages": [message]}

    async def tool_node(state: Any) -> Any:
        said = str(await tool.ainvoke({}))
        past.append("tool")
        return {"said": said}

    return {"node": node, "model": model_node, "tool": tool_node}


async def errors_arrive_as_they_are(make: Make) -> None:
    """An exception of a node, model or tool reaches the caller as the same object."""
    boom = _Boom("from the engine")

    async def fail() -> str:
        raise boom

    for name, node in _nodes(fail).items():
        try:
            result = await _graph(node, make).ainvoke({"messages": []})
        except Exception as error:  # noqa: BLE001 - whatever arrives is compared
            assert error is boom, f"the error of a {name} was replaced by {error!r}"
        else:
            raise AssertionError(f"the error of a {name} was swallowed: the run ended with {result!r}")


async def a_stream_adds_up_to_the_result(make: Make) -> None:
    """The streamed chunks, put together, are what the graph stores and what it gives without a stream."""
    from langchain_core.messages import AIMessage

    calls: Any = [{"name": "look", "args": {"x": 1}, "id": "call-1"}]
    for answer in ("one two three four five", AIMessage("one two", tool_calls=calls)):
        await _adds_up(answer, make)


async def _adds_up(answer: Any, make: Make) -> None:
    model = _model([answer] * 40)

    async def node(state: Any) -> Any:
        return {"messages": [await model.ainvoke("count")]}

    graph = _graph(node, make)
    plain = (await graph.ainvoke({"messages": []}))["messages"][-1]
    streamed, final = "", None
    async for mode, part in graph.astream({"messages": []}, stream_mode=["messages", "values"]):
        if mode == "messages":
            streamed += str(part[0].text)
        else:
            final = part
    assert final is not None and final["messages"], "the run ended without a message"
    stored, hint = final["messages"][-1], "wrap call.emit as well as the result, or set streaming = 'buffered'"
    assert streamed == str(stored.text) == str(plain.text), (
        f"streamed {streamed!r}, stored {stored.text!r}, without a stream {plain.text!r}: {hint}"
    )
    assert stored.tool_calls == plain.tool_calls, (
        f"tool calls from a stream are {stored.tool_calls!r}, without one {plain.tool_calls!r}: {hint}"
    )


async def concurrent_calls_do_not_mix(make: Make) -> None:
    """Twenty runs at once through one instance each get their own answer."""
    middleware = make()
    model = _model([lambda messages: f"answer to {messages[-1].text}"] * 400, delay=0.001)

    async def node(state: Any) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = _graph(node, lambda: middleware)
    alone = [(await graph.ainvoke({"messages": [f"question {i}"]}))["messages"][-1].text for i in range(20)]
    together = await asyncio.gather(*(graph.ainvoke({"messages": [f"question {i}"]}) for i in range(20)))
    for i, state in enumerate(together):
        got = state["messages"][-1].text
        assert got == alone[i], f"run {i} got {got!r}, alone it gets {alone[i]!r}: is there state of a call on self?"


async def cancelling_a_run_stops_it(make: Make) -> None:
    """A cancelled run ends as cancelled, and the node, model or tool at work in it is cancelled too."""
    for name in ("node", "model", "tool"):
        await _cancelling_stops(name, make)


async def _cancelling_stops(name: str, make: Make) -> None:
    gate, entered, cancelled, went_on = asyncio.Event(), asyncio.Event(), list[bool](), list[str]()

    async def wait() -> str:
        entered.set()
        try:
            await gate.wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return "finished"

    task = asyncio.create_task(_graph(_nodes(wait, went_on)[name], make).ainvoke({"messages": []}))
    started = asyncio.create_task(entered.wait())
    await asyncio.wait({task, started}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    if not entered.is_set():
        started.cancel()
        task.cancel()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        raise AssertionError(f"the {name} never began: the run ended with {outcome!r}")
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=PATIENCE)
    if not done:
        gate.set()
        await asyncio.gather(task, return_exceptions=True)
        raise AssertionError(f"the run went on after it was cancelled in a {name}")
    ended = "cancelled" if task.cancelled() else repr(task.exception() or task.result())
    was_stopped = bool(cancelled) and not went_on
    gate.set()
    assert ended == "cancelled", f"a run that was cancelled in a {name} ended with {ended}"
    assert was_stopped, f"the {name} went on after the run was cancelled"


async def no_task_is_left_behind(make: Make) -> None:
    """After a run, a failed run, and a stream that was left early, no task of the middleware is still there."""
    model = _model(["one two three four"] * 40)

    async def node(state: Any) -> Any:
        return {"messages": [await model.ainvoke("hi")]}

    async def fail() -> str:
        raise _Boom("from the engine")

    async def succeed() -> str:
        return "done"

    graph, before = _graph(node, make), asyncio.all_tasks()
    await graph.ainvoke({"messages": []})
    await _graph(_nodes(succeed)["tool"], make).ainvoke({"messages": []})
    for failing in _nodes(fail).values():
        with suppress(Exception):  # what becomes of errors is another check
            await _graph(failing, make).ainvoke({"messages": []})
    stream = graph.astream({"messages": []}, stream_mode="messages")
    async for _ in stream:
        break
    await stream.aclose()
    for _ in range(20):
        await asyncio.sleep(0)  # what was cancelled may need a turn of the loop to end
    left = {task for task in asyncio.all_tasks() - before if not task.done()}
    names = sorted(task.get_name() for task in left)
    for task in left:
        task.cancel()
    assert not left, f"tasks were left behind: {names}; await what you start"


async def sync_and_async_agree(make: Make) -> None:
    """``invoke``, ``stream`` and ``ainvoke`` give the same, from a plain thread and inside a running loop."""
    model = _model(["same answer"] * 80)
    middleware = make()

    def sync_node(state: Any) -> Any:
        return {"messages": [model.invoke("hi")]}

    async def async_node(state: Any) -> Any:
        return {"messages": [await model.ainvoke("hi")]}

    expected = (await _graph(async_node, lambda: middleware).ainvoke({"messages": []}))["messages"][-1].text
    graph = _graph(sync_node, lambda: middleware)
    inside = graph.invoke({"messages": []})["messages"][-1].text
    assert inside == expected, f"invoke inside a running loop gave {inside!r}, ainvoke {expected!r}"
    got: list[Any] = []

    def plain_thread() -> None:
        try:
            got.append(graph.invoke({"messages": []})["messages"][-1].text)
            chunks = [part[0].text for part in graph.stream({"messages": []}, stream_mode="messages")]
            got.append("".join(chunks))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            got.append(error)

    thread = threading.Thread(target=plain_thread, daemon=True)
    thread.start()
    await asyncio.to_thread(thread.join, PATIENCE)
    assert not thread.is_alive(), "a synchronous run never ended"
    assert got == [expected, expected], f"synchronous runs gave {got!r}, ainvoke {expected!r}"


async def two_event_loops_can_share_it(make: Make) -> None:
    """One instance serves runs on two event loops, with contention on both."""
    middleware = make()
    model = _model(["fine"] * 100, delay=0.001)

    async def node(state: Any) -> Any:
        return {"messages": [await model.ainvoke("hi")]}

    graph = _graph(node, lambda: middleware)

    async def burst() -> int:
        return len(await asyncio.gather(*(graph.ainvoke({"messages": []}) for _ in range(8))))

    assert await burst() == 8
    assert await asyncio.to_thread(asyncio.run, burst()) == 8, "runs on a second event loop were lost"


CHECKS: dict[str, Callable[[Make], Awaitable[None]]] = {
    check.__name__: check
    for check in (
        interrupts_reach_the_human,
        errors_arrive_as_they_are,
        a_stream_adds_up_to_the_result,
        concurrent_calls_do_not_mix,
        cancelling_a_run_stops_it,
        no_task_is_left_behind,
        sync_and_async_agree,
        two_event_loops_can_share_it,
    )
}
