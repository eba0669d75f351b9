"""The conformance kit must pass good middleware, and catch each way to get one wrong."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest
from langchain_core.messages import AIMessage

from chainops import Middleware
from chainops.calls import ModelCall, ModelResult, NodeCall, ToolCall
from chainops.per_loop import PerLoop
from chainops.testing import MiddlewareConformance, check_middleware


class PassThrough(Middleware):
    suspends = False


class Waiting(Middleware):
    """Waits on every hook, under a lock of the running loop."""

    def __init__(self) -> None:
        self.lock = PerLoop(asyncio.Lock)

    async def wrap_node_call(self, call: NodeCall, call_next: Any) -> Any:
        async with self.lock.get():
            await asyncio.sleep(0)
        return await call_next(call)

    async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
        await asyncio.sleep(0)
        return await call_next(call)


class Shout(Middleware):
    """Changes stream and result alike."""

    async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
        async def emit(chunk: Any) -> None:
            await call.emit(chunk.model_copy(update={"content": str(chunk.text).upper()}))

        result = await call_next(call.replace(emit=emit))
        return result.replace(message=result.message.model_copy(update={"content": result.text.upper()}))


class ShoutAtTheEnd(Middleware):
    """Changes the result only, and says so."""

    streaming = "buffered"

    async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
        result = await call_next(call)
        return result.replace(message=result.message.model_copy(update={"content": result.text.upper()}))


class RetryEverything(Middleware):
    """A naive retry around nodes, which also catches LangGraph's control flow."""

    async def wrap_node_call(self, call: NodeCall, call_next: Any) -> Any:
        for _ in range(2):
            try:
                return await call_next(call)
            except Exception:
                await asyncio.sleep(0)
        return await call_next(call)


class Cache(Middleware):
    """Answers the same question without the model the second time."""

    def __init__(self) -> None:
        self.known: dict[Any, ModelResult] = {}

    async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
        key = tuple(message.text for message in call.messages)
        if key not in self.known:
            self.known[key] = await call_next(call)
        return self.known[key]


class TimeLimit(Middleware):
    """Runs what it wraps in a task of its own."""

    async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
        return await asyncio.wait_for(call_next(call), 30)

    async def wrap_tool_call(self, call: ToolCall, call_next: Any) -> Any:
        return await asyncio.wait_for(call_next(call), 30)


@pytest.mark.parametrize("good", [PassThrough, Waiting, Shout, ShoutAtTheEnd, RetryEverything, Cache, TimeLimit])
async def test_the_kit_passes_good_middleware(good: type[Middleware]) -> None:
    assert await check_middleware(good) == {}


class SwallowsErrors(Middleware):
    async def wrap_node_call(self, call: NodeCall, call_next: Any) -> Any:
        try:
            return await call_next(call)
        except Exception:
            return {"said": "Sorry"}


class ReplacesErrors(Middleware):
    async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
        try:
            return await call_next(call)
        except Exception as error:
            raise RuntimeError("something went wrong") from error


class ChangesTheResultOnly(Middleware):
    async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
        result = await call_next(call)
        return result.replace(message=result.message.model_copy(update={"content": "[removed]"}))


class KeepsTheCallOnSelf(Middleware):
    async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
        self.messages = call.messages
        await asyncio.sleep(0.002)
        return await call_next(call.replace(messages=self.messages))


class SwallowsCancellation(Middleware):
    async def wrap_node_call(self, call: NodeCall, call_next: Any) -> Any:
        try:
            return await call_next(call)
        except asyncio.CancelledError:
            return {"said": "never mind"}


class LeavesATask(Middleware):
    tasks: ClassVar[set[Any]] = set()

    async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
        self.tasks.add(asyncio.create_task(asyncio.sleep(60)))
        return await call_next(call)


class LiesAboutSuspending(Middleware):
    suspends = False

    async def wrap_node_call(self, call: NodeCall, call_next: Any) -> Any:
        await asyncio.sleep(0)
        return await call_next(call)


class SharesALockBetweenLoops(Middleware):
    def __init__(self) -> None:
        self.lock = asyncio.Lock()

    async def wrap_node_call(self, call: NodeCall, call_next: Any) -> Any:
        async with self.lock:
            await asyncio.sleep(0.001)
            return await call_next(call)


class SwallowsCancellationOfTools(Middleware):
    async def wrap_tool_call(self, call: ToolCall, call_next: Any) -> Any:
        try:
            return await call_next(call)
        except asyncio.CancelledError:
            return "never mind"


class ShieldsTheModel(Middleware):
    async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
        return await asyncio.shield(asyncio.ensure_future(call_next(call)))


class SwallowsErrorsOfTools(Middleware):
    async def wrap_tool_call(self, call: ToolCall, call_next: Any) -> Any:
        try:
            return await call_next(call)
        except Exception:
            return "never mind"


class TakesToolCallsOutOfTheResultOnly(Middleware):
    async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
        result = await call_next(call)
        return result.replace(message=AIMessage(result.text))


class LeavesATaskWhenTheModelFails(Middleware):
    def __init__(self) -> None:
        self.tasks: list[Any] = []

    async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
        task = asyncio.create_task(asyncio.Event().wait())
        self.tasks.append(task)
        result = await call_next(call)
        task.cancel()
        return result


class LeavesATaskBesideTools(Middleware):
    def __init__(self) -> None:
        self.tasks: list[Any] = []

    async def wrap_tool_call(self, call: ToolCall, call_next: Any) -> Any:
        self.tasks.append(asyncio.create_task(asyncio.Event().wait()))
        return await call_next(call)


@pytest.mark.parametrize(
    ("broken", "caught_by"),
    [
        (SwallowsErrors, "errors_arrive_as_they_are"),
        (ReplacesErrors, "errors_arrive_as_they_are"),
        (ChangesTheResultOnly, "a_stream_adds_up_to_the_result"),
        (KeepsTheCallOnSelf, "concurrent_calls_do_not_mix"),
        (SwallowsCancellation, "cancelling_a_run_stops_it"),
        (LeavesATask, "no_task_is_left_behind"),
        (SwallowsCancellationOfTools, "cancelling_a_run_stops_it"),
        (ShieldsTheModel, "cancelling_a_run_stops_it"),
        (SwallowsErrorsOfTools, "errors_arrive_as_they_are"),
        (TakesToolCallsOutOfTheResultOnly, "a_stream_adds_up_to_the_result"),
        (LeavesATaskWhenTheModelFails, "no_task_is_left_behind"),
        (LeavesATaskBesideTools, "no_task_is_left_behind"),
        (LiesAboutSuspending, "sync_and_async_agree"),
        (SharesALockBetweenLoops, "two_event_loops_can_share_it"),
    ],
)
async def test_the_kit_catches_broken_middleware(broken: type[Middleware], caught_by: str) -> None:
    failed = await check_middleware(broken)
    assert caught_by in failed, f"the kit found only {failed}"


class TestConformanceClass(MiddlewareConformance):
    def make(self) -> Middleware:
        return Waiting()
