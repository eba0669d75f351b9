"""Nodes, conditional edges and ``@task``s inside the pipeline."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.runnables import Runnable, RunnableConfig, RunnableSequence
from langchain_core.runnables.config import patch_config, run_in_executor, var_child_runnable_config
from langgraph._internal._constants import CONF, CONFIG_KEY_CALL, CONFIG_KEY_RUNTIME, CONFIG_KEY_SCRATCHPAD
from langgraph._internal._runnable import RunnableCallable, RunnableSeq
from langgraph.graph._branch import BranchSpec

from chainops.adapters.bridge import run_async, run_sync
from chainops.adapters.heartbeat import Heartbeat
from chainops.adapters.messages import keep_ids
from chainops.adapters.scope import CURRENT, Plan, Scope, new_run
from chainops.calls import NodeCall
from chainops.pipeline import NodeSettings

if TYPE_CHECKING:
    from langgraph.types import TimeoutPolicy

__all__ = ["NodeStep", "rewind_interrupts", "route_writers"]

NodeKind = Literal["node", "route", "task"]


class _Boundary:
    """Builds the calls of one node, route or task and sends them through the layers."""

    def __init__(self, plan: Plan, kind: NodeKind, name: str, own: NodeSettings) -> None:
        self.plan, self.kind, self.name, self.own = plan, kind, name, own
        self.pipeline, self.auto = plan.pipeline, plan.auto
        self.settings: dict[str, NodeSettings] = {}

    def call(self, input: Any, config: RunnableConfig | None, engine: Any) -> NodeCall:
        if config is None:
            config = {}
        scope = CURRENT.get()
        if scope is None:
            parent, path, run = None, self.name, new_run(self.plan.graph, config)
        else:
            parent = scope.call
            path, run = f"{parent.path}/{self.name}" if parent.path else self.name, parent.run
        settings = self.settings.get(path)
        if settings is None:
            settings = self.settings[path] = self.pipeline.settings_for(path).merged(self.own)
        runtime = config[CONF].get(CONFIG_KEY_RUNTIME) if CONF in config else None
        info = None if runtime is None else runtime.execution_info
        return NodeCall(
            run=run,
            kind=self.kind,
            name=self.name,
            path=path,
            attempt=1 if info is None else info.node_attempt,
            config=config,
            settings=settings,
            parent=parent,
            engine=engine,
            input=input,
        )

    def run(self, call: NodeCall) -> Awaitable[Any]:
        """Send ``call`` through the layers. Between two nodes there is no scope that they would have to leave."""
        if call.parent is None or call.parent.kind == "run":
            return self.pipeline.chain(call.kind, call.settings.off)(call)
        return run_async(self.pipeline, call)


class _Inside(Scope):
    """The scope of user code, entered and left with ``with``; scheduling a ``@task`` in it goes through the pipeline.

    ``is_async``: how this node runs; None where no task can be scheduled.
    """

    __slots__ = ("_conf", "_implicit", "_schedule", "_token", "is_async", "plan")

    def __init__(self, boundary: _Boundary, call: NodeCall, is_async: bool | None = None) -> None:
        self.pipeline, self.call, self.auto, self.inside = boundary.pipeline, call, boundary.auto, boundary.auto
        self.plan, self.is_async = boundary.plan, is_async
        self._schedule: Callable[..., Any] | None = None

    def __enter__(self) -> None:
        config: Any = self.call.config
        if self.call.guard.entries > 1:  # a layer runs the node again: its interrupt() calls count from the first
            rewind_interrupts(config, 0)
        if self.is_async is not None and (conf := config.get(CONF)) is not None and CONFIG_KEY_CALL in conf:
            # changed in place until user code is done: the table is this task's own, and copying it costs more
            # than a layer does
            self._conf, self._schedule = conf, conf[CONFIG_KEY_CALL]
            conf[CONFIG_KEY_CALL] = self.schedule
        # LangGraph has set the config that user code picks up implicitly; a layer may have put another in its place
        same = var_child_runnable_config.get() is config
        self._implicit = None if same else var_child_runnable_config.set(config)
        self._token = CURRENT.set(self)

    def __exit__(self, *error: object) -> None:
        CURRENT.reset(self._token)
        if self._implicit is not None:
            var_child_runnable_config.reset(self._implicit)
        if self._schedule is not None:
            self._conf[CONFIG_KEY_CALL] = self._schedule

    def schedule(self, func: Callable[..., Any], input: Any, **options: Any) -> Any:
        """In place of LangGraph's own function that schedules a task."""
        if self._schedule is None:
            raise AssertionError("tasks are scheduled inside a node")
        return self._schedule(_task(func, self), input, **options)


class NodeStep(Runnable[Any, Any]):
    """First step of a node's sequence: the pipeline around the node's own runnable. Traces nothing itself."""

    def __init__(
        self, inner: Runnable[Any, Any], plan: Plan, name: str, own: NodeSettings, timeout: TimeoutPolicy | None
    ) -> None:
        self.steps = list(inner.steps) if isinstance(inner, RunnableSequence | RunnableSeq) else [inner]
        self.boundary = _Boundary(plan, "node", name, own)
        self.name = getattr(inner, "name", None) or name
        self.idle = None if timeout is None else timeout.idle_timeout

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        def work(call: NodeCall) -> Any:
            with _Inside(self.boundary, call, is_async=False):
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
        with _Inside(self.boundary, call, is_async=True):
            return await self.steps[0].ainvoke(call.input, call.config)  # type: ignore[arg-type]

    async def _ainvoke_all(self, input: Any, config: RunnableConfig | None, **kwargs: Any) -> Any:
        async def engine(call: NodeCall) -> Any:
            with _Inside(self.boundary, call, is_async=True), heart.pause():
                value = await self.steps[0].ainvoke(call.input, call.config, **kwargs)  # type: ignore[arg-type]
                for i, step in enumerate(self.steps[1:], 1):
                    value = await step.ainvoke(value, _retag(call.config, i))
                return value

        call = self.boundary.call(input, config, engine)
        with Heartbeat(self.idle, call.config) as heart:
            return keep_ids(await self.boundary.run(call), call.guard.result)

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        def work(call: NodeCall) -> Any:
            with _Inside(self.boundary, call, is_async=False):
                chunks = self.steps[0].stream(call.input, call.config, **kwargs)  # type: ignore[arg-type]
                for i, step in enumerate(self.steps[1:], 1):
                    chunks = step.transform(chunks, _retag(call.config, i))
                return _fold(list(chunks))

        call = self.boundary.call(input, config, None)
        yield keep_ids(run_sync(self.boundary.pipeline, call, work), call.guard.result)

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        async def engine(call: NodeCall) -> Any:
            with _Inside(self.boundary, call, is_async=True), heart.pause():
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


def rewind_interrupts(config: Mapping[str, Any], to: int | None) -> int | None:
    """Set the index of the next ``interrupt()`` in this node, or with None read it. None: not inside a node.

    A layer that calls ``call_next`` twice must not make the node ask a human twice: the second time, its
    interrupts have to find the answers that the first time got.
    """
    scratchpad = (config.get(CONF) or {}).get(CONFIG_KEY_SCRATCHPAD)
    counter = getattr(scratchpad, "interrupt_counter", None)
    if counter is None:
        return None
    value: int = counter() if to is None else to
    counter._counter = itertools.count(value).__next__
    return value


def _task(func: Callable[..., Any], scope: _Inside) -> Callable[..., Any]:
    boundary = _Boundary(scope.plan, "task", _task_name(func), NodeSettings())
    is_async = inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(type(func).__call__)

    def call_of(args: Any, kwargs: Any, engine: Any) -> NodeCall:
        token = CURRENT.set(scope)  # LangGraph may run the task in a context that the node never had
        try:
            return boundary.call((args, kwargs), var_child_runnable_config.get(), engine)
        finally:
            CURRENT.reset(token)

    async def async_task(*args: Any, **kwargs: Any) -> Any:
        async def engine(call: NodeCall) -> Any:
            inner_args, inner_kwargs = call.input
            with _Inside(boundary, call):
                if is_async:
                    return await func(*inner_args, **inner_kwargs)
                return await run_in_executor(None, func, *inner_args, **inner_kwargs)

        return await boundary.run(call_of(args, kwargs, engine))

    def sync_task(*args: Any, **kwargs: Any) -> Any:
        def work(call: NodeCall) -> Any:
            inner_args, inner_kwargs = call.input
            with _Inside(boundary, call):
                return func(*inner_args, **inner_kwargs)

        return run_sync(boundary.pipeline, call_of(args, kwargs, None), work)

    return _named_like(func, async_task if scope.is_async or is_async else sync_task)


def _task_name(func: Callable[..., Any]) -> str:
    """LangGraph's own precedence: the name is part of the task's id."""
    inner = getattr(func, "func", None)
    return getattr(func, "__name__", None) or getattr(inner, "__name__", None) or type(func).__name__


def _named_like(func: Callable[..., Any], wrapper: Callable[..., Any]) -> Callable[..., Any]:
    functools.update_wrapper(wrapper, func)
    wrapper.__name__ = _task_name(func)
    if not hasattr(func, "__qualname__"):
        # without one LangGraph takes the task for a dynamic one and does not share cache entries by name
        wrapper.__module__ = None  # type: ignore[assignment]
    return wrapper


class _Route(Runnable[Any, Any]):
    """The path of a conditional edge inside the pipeline."""

    def __init__(self, path: Runnable[Any, Any], plan: Plan, node: str) -> None:
        self.path = path
        self.name = getattr(path, "name", None)
        self.boundary = _Boundary(plan, "route", node, NodeSettings())

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        def work(call: NodeCall) -> Any:
            with _Inside(self.boundary, call):
                return self.path.invoke(call.input, call.config, **kwargs)  # type: ignore[arg-type]

        return run_sync(self.boundary.pipeline, self.boundary.call(input, config, None), work)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        async def engine(call: NodeCall) -> Any:
            with _Inside(self.boundary, call):
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
