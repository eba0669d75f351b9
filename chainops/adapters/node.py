"""Nodes and conditional edges inside the pipeline."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import Runnable, RunnableConfig, RunnableSequence
from langchain_core.runnables.config import patch_config
from langgraph._internal._runnable import RunnableCallable, RunnableSeq
from langgraph.graph._branch import BranchSpec

from chainops.adapters.boundary import Boundary, Inside
from chainops.adapters.bridge import run_sync
from chainops.adapters.heartbeat import Heartbeat
from chainops.adapters.messages import keep_ids
from chainops.adapters.scope import Plan
from chainops.calls import NodeCall, NodeSettings

if TYPE_CHECKING:
    from langgraph.types import TimeoutPolicy

__all__ = ["NodeStep", "route_writers"]


class NodeStep(Runnable[Any, Any]):
    """First step of a node's sequence: the pipeline around the node's own runnable. Traces nothing itself."""

    def __init__(
        self, inner: Runnable[Any, Any], plan: Plan, name: str, own: NodeSettings, timeout: TimeoutPolicy | None
    ) -> None:
        self.steps = list(inner.steps) if isinstance(inner, RunnableSequence | RunnableSeq) else [inner]
        self.boundary = Boundary(plan, "node", name, own, inner)
        self.name = getattr(inner, "name", None) or name
        self.idle = None if timeout is None else timeout.idle_timeout

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        def work(call: NodeCall) -> Any:
            with Inside(self.boundary, call, is_async=False):
                value = self.steps[0].invoke(call.input, call.config, **kwargs)  # type: ignore[arg-type]
                for i, step in enumerate(self.steps[1:], 1):
                    value = step.invoke(value, _retag(call.config, i))
                return value

        call = self.boundary.call(input, config, None)
        return keep_ids(run_sync(self.boundary.pipeline, call, work), call.guard.result)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        if kwargs or self.idle is not None or len(self.steps) > 1:
            return await self._ainvoke_all(input, config, **kwargs)
        call = self.boundary.call(input, config, self._single)
        return keep_ids(await self.boundary.run(call), call.guard.result)

    async def _single(self, call: NodeCall) -> Any:
        """The engine of nearly every node."""
        with Inside(self.boundary, call, is_async=True):
            return await self.steps[0].ainvoke(call.input, call.config)  # type: ignore[arg-type]

    async def _ainvoke_all(self, input: Any, config: RunnableConfig | None, **kwargs: Any) -> Any:
        async def engine(call: NodeCall) -> Any:
            with Inside(self.boundary, call, is_async=True), heart.pause():
                value = await self.steps[0].ainvoke(call.input, call.config, **kwargs)  # type: ignore[arg-type]
                for i, step in enumerate(self.steps[1:], 1):
                    value = await step.ainvoke(value, _retag(call.config, i))
                return value

        call = self.boundary.call(input, config, engine)
        with Heartbeat(self.idle, call.config) as heart:
            return keep_ids(await self.boundary.run(call), call.guard.result)

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        def work(call: NodeCall) -> Any:
            with Inside(self.boundary, call, is_async=False):
                chunks = self.steps[0].stream(call.input, call.config, **kwargs)  # type: ignore[arg-type]
                for i, step in enumerate(self.steps[1:], 1):
                    chunks = step.transform(chunks, _retag(call.config, i))
                return _fold(list(chunks))

        call = self.boundary.call(input, config, None)
        yield keep_ids(run_sync(self.boundary.pipeline, call, work), call.guard.result)

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        async def engine(call: NodeCall) -> Any:
            with Inside(self.boundary, call, is_async=True), heart.pause():
                chunks = self.steps[0].astream(call.input, call.config, **kwargs)  # type: ignore[arg-type]
                for i, step in enumerate(self.steps[1:], 1):
                    chunks = step.atransform(chunks, _retag(call.config, i))
                return _fold([chunk async for chunk in chunks])

        call = self.boundary.call(input, config, engine)
        with Heartbeat(self.idle, call.config) as heart:
            yield keep_ids(await self.boundary.run(call), call.guard.result)


def _retag(config: Any, i: int) -> RunnableConfig:
    """Child runs of a sequence are tagged ``seq:step:N``; keep N right for the steps inside ours."""
    manager = config.get("callbacks")
    if manager is None or isinstance(manager, list):
        return config  # type: ignore[no-any-return]
    manager = manager.copy()
    manager.tags = [f"seq:step:{i + 1}" if tag == "seq:step:1" else tag for tag in manager.tags]
    return patch_config(config, callbacks=manager)


def _fold(chunks: list[Any]) -> Any:
    """What LangGraph makes of a node's chunks: their sum where they add up, else the last."""
    if not chunks:
        return None
    total = chunks[0]
    for chunk in chunks[1:]:
        try:
            total = total + chunk
        except TypeError:
            total = chunk
    return total


class _Route(Runnable[Any, Any]):
    """The path of a conditional edge inside the pipeline."""

    def __init__(self, path: Runnable[Any, Any], plan: Plan, node: str) -> None:
        self.path = path
        self.name = getattr(path, "name", None)
        self.boundary = Boundary(plan, "route", node, NodeSettings(), path)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        def work(call: NodeCall) -> Any:
            with Inside(self.boundary, call, is_async=False):
                return self.path.invoke(call.input, call.config, **kwargs)  # type: ignore[arg-type]

        return run_sync(self.boundary.pipeline, self.boundary.call(input, config, None), work)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        async def engine(call: NodeCall) -> Any:
            with Inside(self.boundary, call, is_async=True):
                return await self.path.ainvoke(call.input, call.config, **kwargs)  # type: ignore[arg-type]

        return await self.boundary.run(self.boundary.call(input, config, engine))


def route_writers(writers: Sequence[Runnable[Any, Any]], plan: Plan, node: str) -> list[Runnable[Any, Any]]:
    """The writers of a node, with conditional edges among them inside the pipeline."""
    wrapped = []
    for writer in writers:
        branch = getattr(getattr(writer, "func", None), "__self__", None)
        if isinstance(writer, RunnableCallable) and isinstance(branch, BranchSpec):
            routed = branch._replace(path=_Route(branch.path, plan, node))
            writer = RunnableCallable(
                routed._route, routed._aroute, name=writer.name, tags=writer.tags, trace=writer.trace, **writer.kwargs
            )
        wrapped.append(writer)
    return wrapped
