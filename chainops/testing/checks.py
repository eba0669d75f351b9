"""What every middleware must keep true, one function for each, on real LangGraph graphs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from chainops.testing.graphs import Boom, Make, graph_of, model_of, nodes_that

__all__ = ["CHECKS", "PATIENCE"]

PATIENCE = 10.0  # seconds until a check calls something stuck


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
        graph, config = graph_of(node, make, checkpointer=True), {"configurable": {"thread_id": "1"}}

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


async def errors_arrive_as_they_are(make: Make) -> None:
    """An exception of a node, model or tool reaches the caller as the same object."""
    boom = Boom("from the engine")

    async def fail() -> str:
        raise boom

    for name, node in nodes_that(fail).items():
        try:
            result = await graph_of(node, make).ainvoke({"messages": []})
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
    model = model_of([answer] * 40)

    async def node(state: Any) -> Any:
        return {"messages": [await model.ainvoke("count")]}

    graph = graph_of(node, make)
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
    model = model_of([lambda messages: f"answer to {messages[-1].text}"] * 400, delay=0.001)

    async def node(state: Any) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = graph_of(node, lambda: middleware)
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

    task = asyncio.create_task(graph_of(nodes_that(wait, went_on)[name], make).ainvoke({"messages": []}))
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
    model = model_of(["one two three four"] * 40)

    async def node(state: Any) -> Any:
        return {"messages": [await model.ainvoke("hi")]}

    async def fail() -> str:
        raise Boom("from the engine")

    async def succeed() -> str:
        return "done"

    graph, before = graph_of(node, make), asyncio.all_tasks()
    await graph.ainvoke({"messages": []})
    # held until the end: with a graph its layer would go, and a waiting task that nothing else holds goes unseen
    others = [graph_of(each, make) for each in (nodes_that(succeed)["tool"], *nodes_that(fail).values())]
    for other in others:
        with suppress(Exception):  # what becomes of errors is another check
            await other.ainvoke({"messages": []})
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
    del others
    assert not left, f"tasks were left behind: {names}; await what you start"


async def sync_and_async_agree(make: Make) -> None:
    """``invoke``, ``stream`` and ``ainvoke`` give the same, from a plain thread and inside a running loop."""
    model = model_of(["same answer"] * 80)
    middleware = make()

    def sync_node(state: Any) -> Any:
        return {"messages": [model.invoke("hi")]}

    async def async_node(state: Any) -> Any:
        return {"messages": [await model.ainvoke("hi")]}

    expected = (await graph_of(async_node, lambda: middleware).ainvoke({"messages": []}))["messages"][-1].text
    graph = graph_of(sync_node, lambda: middleware)
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
    model = model_of(["fine"] * 100, delay=0.001)

    async def node(state: Any) -> Any:
        return {"messages": [await model.ainvoke("hi")]}

    graph = graph_of(node, lambda: middleware)

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
