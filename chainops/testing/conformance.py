"""What every middleware must keep true, checked on real LangGraph graphs.

Subclass :class:`MiddlewareConformance` in a test module, or call :func:`check_middleware` from a script.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any, TypedDict

from chainops.errors import is_control_flow
from chainops.pipeline import Middleware, Pipeline

__all__ = ["CHECKS", "MiddlewareConformance", "check_middleware"]

Make = Callable[[], Middleware]
PATIENCE = 10.0  # seconds until a check calls something stuck


class _Boom(ValueError):
    """Raised by engines, to see whether it arrives as it is."""


def _graph(node: Any, make: Make, *, checkpointer: bool = False, after: Any = None) -> Any:
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


async def errors_arrive_as_they_are(make: Make) -> None:
    """An exception of a node or model reaches the caller as the same object."""
    boom = _Boom("from the engine")

    async def failing_node(state: Any) -> Any:
        raise boom

    model = _model([boom] * 20)

    async def failing_model(state: Any) -> Any:
        return {"messages": [await model.ainvoke("hi")]}

    for name, node in (("node", failing_node), ("model", failing_model)):
        try:
            result = await _graph(node, make).ainvoke({"messages": []})
        except Exception as error:  # noqa: BLE001 - whatever arrives is compared
            assert error is boom, f"the error of a {name} was replaced by {error!r}"
        else:
            raise AssertionError(f"the error of a {name} was swallowed: the run ended with {result!r}")


async def a_stream_adds_up_to_the_result(make: Make) -> None:
    """The streamed chunks, put together, are the text that the graph stores and that it gives without a stream."""
    model = _model(["one two three four five"] * 40)

    async def node(state: Any) -> Any:
        return {"messages": [await model.ainvoke("count")]}

    graph = _graph(node, make)
    plain = str((await graph.ainvoke({"messages": []}))["messages"][-1].text)
    streamed, final = "", None
    async for mode, part in graph.astream({"messages": []}, stream_mode=["messages", "values"]):
        if mode == "messages":
            streamed += str(part[0].text)
        else:
            final = part
    assert final is not None and final["messages"], "the run ended without a message"
    stored = str(final["messages"][-1].text)
    assert streamed == stored == plain, (
        f"streamed {streamed!r}, stored {stored!r}, without a stream {plain!r}: "
        "wrap call.emit as well as the result, or set streaming = 'buffered'"
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
    """A cancelled run ends as cancelled, and the model call inside it is cancelled too."""
    gate, cancelled = asyncio.Event(), []
    entered = asyncio.Event()

    async def node(state: Any) -> Any:
        entered.set()
        try:
            await gate.wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return {"said": "finished"}

    task = asyncio.create_task(_graph(node, make).ainvoke({"messages": []}))
    await asyncio.wait_for(entered.wait(), PATIENCE)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=PATIENCE)
    if not done:
        gate.set()
        with suppress(BaseException):
            await task
        raise AssertionError("the run went on after it was cancelled")
    assert task.cancelled(), f"a cancelled run ended with {task.exception() or task.result()!r}"
    assert cancelled, "the node went on after the run was cancelled"


async def no_task_is_left_behind(make: Make) -> None:
    """After a run, and after a stream that was left early, no task of the middleware is still there."""
    model = _model(["one two three four"] * 40)

    async def node(state: Any) -> Any:
        return {"messages": [await model.ainvoke("hi")]}

    graph, before = _graph(node, make), asyncio.all_tasks()
    await graph.ainvoke({"messages": []})
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


async def check_middleware(make: Make) -> dict[str, str]:
    """Run every check on fresh instances from ``make``; what failed, by the name of the check. Empty: all passed."""
    failed: dict[str, str] = {}
    for name, check in CHECKS.items():
        try:
            await asyncio.wait_for(check(make), 4 * PATIENCE)
        except Exception as error:  # noqa: BLE001 - reported
            assert not is_control_flow(error), "control flow never leaves a graph"
            failed[name] = f"{type(error).__name__}: {error}"
    return failed


class MiddlewareConformance:
    """Subclass in a test module and return your middleware from :meth:`make`; pytest runs every check.

    A check may be switched off only in the open: override it with ``pytest.mark.xfail(reason=...)``.
    Needs pytest-asyncio (``asyncio_mode = "auto"``).
    """

    def make(self) -> Middleware:
        """A fresh instance of the middleware under test."""
        raise NotImplementedError("return your middleware from make()")

    async def test_interrupts_reach_the_human(self) -> None:
        await interrupts_reach_the_human(self.make)

    async def test_errors_arrive_as_they_are(self) -> None:
        await errors_arrive_as_they_are(self.make)

    async def test_a_stream_adds_up_to_the_result(self) -> None:
        await a_stream_adds_up_to_the_result(self.make)

    async def test_concurrent_calls_do_not_mix(self) -> None:
        await concurrent_calls_do_not_mix(self.make)

    async def test_cancelling_a_run_stops_it(self) -> None:
        await cancelling_a_run_stops_it(self.make)

    async def test_no_task_is_left_behind(self) -> None:
        await no_task_is_left_behind(self.make)

    async def test_sync_and_async_agree(self) -> None:
        await sync_and_async_agree(self.make)

    async def test_two_event_loops_can_share_it(self) -> None:
        await two_event_loops_can_share_it(self.make)
