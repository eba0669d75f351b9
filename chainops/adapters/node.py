"""Nodes, conditional edges and ``@task``s inside the pipeline."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.runnables import Runnable, RunnableConfig, RunnableSequence
from langchain_core.runnables.config import patch_config, run_in_executor, var_child_runnable_config
from langgraph._internal._constants import CONF, CONFIG_KEY_CALL, CONFIG_KEY_RUNTIME, CONFIG_KEY_SCRATCHPAD
from langgraph._internal._runnable import RunnableCallable, RunnableSeq
from langgraph.graph._branch import BranchSpec

from chainops.adapters.bridge import run_async, run_sync
from chainops.adapters.heartbeat import Heartbeat
from chainops.adapters.messages import keep_ids
from chainops.adapters.scope import CURRENT, Scope, new_run
from chainops.calls import NodeCall
from chainops.pipeline import NodeSettings

if TYPE_CHECKING:
    from langgraph.types import TimeoutPolicy

    from chainops.adapters.langgraph import Plan

__all__ = ["NodeStep", "rewind_interrupts", "route_writers"]

NodeKind = Literal["node", "route", "task"]


class _Boundary:
    """Builds the calls of one node, route or task and enters its scope."""

    def __init__(self, plan: Plan, kind: NodeKind, name: str, own: NodeSettings) -> None:
        self.plan, self.kind, self.name, self.own = plan, kind, name, own
        self.pipeline = plan.pipeline
        self.settings: dict[str, NodeSettings] = {}

    def call(self, input: Any, config: RunnableConfig, engine: Any) -> NodeCall:
        scope = CURRENT.get()
        parent = None if scope is None else scope.call
        path = f"{parent.path}/{self.name}" if parent is not None and parent.path else self.name
        settings = self.settings.get(path)
        if settings is None:
            settings = self.settings[path] = self.pipeline.settings_for(path).merged(self.own)
        runtime = (config.get(CONF) or {}).get(CONFIG_KEY_RUNTIME)
        info = getattr(runtime, "execution_info", None)
        return NodeCall(
            run=new_run(self.plan.graph, config) if parent is None else parent.run,
            kind=self.kind,
            name=self.name,
            path=path,
            attempt=1 if info is None else info.node_attempt,
            config=config,
            metadata=settings.metadata,
            off=settings.off,
            parent=parent,
            engine=engine,
            input=input,
        )

    def enter(self, call: NodeCall, config: RunnableConfig) -> _Entered:
        if call.guard.entries > 1:  # a layer runs the node again: its interrupt() calls count from the first
            rewind_interrupts(config, 0)
        return _Entered(Scope(self.pipeline, call, self.plan.auto), config)


class _Entered:
    """User code runs: the scope is set, and so is the config that it picks up implicitly."""

    __slots__ = ("_config", "_scope", "_tokens")

    def __init__(self, scope: Scope, config: RunnableConfig) -> None:
        self._scope, self._config = scope, config

    def __enter__(self) -> None:
        self._tokens = CURRENT.set(self._scope), var_child_runnable_config.set(self._config)

    def __exit__(self, *error: object) -> None:
        CURRENT.reset(self._tokens[0])
        var_child_runnable_config.reset(self._tokens[1])


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
            inner = self._config(call, is_async=False)
            with self.boundary.enter(call, inner):
                value = call.input
                for i, step in enumerate(self.steps):
                    value = step.invoke(value, _retag(inner, i), **(kwargs if i == 0 else {}))
            results.append(value)
            return value

        results: list[Any] = []
        call = self.boundary.call(input, config or {}, None)
        return keep_ids(run_sync(self.boundary.pipeline, call, work), results)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        async def value(call: NodeCall, inner: RunnableConfig) -> Any:
            value = call.input
            for i, step in enumerate(self.steps):
                value = await step.ainvoke(value, _retag(inner, i), **(kwargs if i == 0 else {}))
            return value

        return await self._arun(input, config or {}, value)

    async def _arun(self, input: Any, config: RunnableConfig, value: Callable[..., Any]) -> Any:
        async def engine(call: NodeCall) -> Any:
            inner = self._config(call, is_async=True)
            with heart.pause(), self.boundary.enter(call, inner):
                results.append(await value(call, inner))
            return results[-1]

        results: list[Any] = []
        with Heartbeat.of(self.idle, config) as heart:
            result = await run_async(self.boundary.pipeline, self.boundary.call(input, config, engine))
        return keep_ids(result, results)

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        def work(call: NodeCall) -> Any:
            inner = self._config(call, is_async=False)
            with self.boundary.enter(call, inner):
                chunks = self.steps[0].stream(call.input, inner, **kwargs)
                for i, step in enumerate(self.steps[1:], 1):
                    chunks = step.transform(chunks, _retag(inner, i))
                results.append(_fold(list(chunks)))
            return results[-1]

        results: list[Any] = []
        call = self.boundary.call(input, config or {}, None)
        yield keep_ids(run_sync(self.boundary.pipeline, call, work), results)

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        async def value(call: NodeCall, inner: RunnableConfig) -> Any:
            chunks = self.steps[0].astream(call.input, inner, **kwargs)
            for i, step in enumerate(self.steps[1:], 1):
                chunks = step.atransform(chunks, _retag(inner, i))
            return _fold([chunk async for chunk in chunks])

        yield await self._arun(input, config or {}, value)

    def _config(self, call: NodeCall, *, is_async: bool) -> RunnableConfig:
        """The node's config, in which scheduling a ``@task`` goes through the pipeline too."""
        config: RunnableConfig = call.config  # type: ignore[assignment]
        conf = config.get(CONF) or {}
        schedule = conf.get(CONFIG_KEY_CALL)
        if schedule is None or isinstance(schedule, _TaskScheduler):
            return config
        patched = _TaskScheduler(schedule, self.boundary.plan, call, is_async)
        return {**config, CONF: {**conf, CONFIG_KEY_CALL: patched}}


def _retag(config: RunnableConfig, i: int) -> RunnableConfig:
    """Child runs of a sequence are tagged ``seq:step:N``; keep N right for the steps inside ours."""
    manager = config.get("callbacks")
    if i == 0 or manager is None or isinstance(manager, list):
        return config
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


def rewind_interrupts(config: RunnableConfig, to: int | None) -> int | None:
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


class _TaskScheduler:
    """Stands in the config where LangGraph keeps the function that schedules a ``@task``."""

    def __init__(self, schedule: Callable[..., Any], plan: Plan, parent: NodeCall, is_async: bool) -> None:
        self.schedule, self.plan, self.parent, self.is_async = schedule, plan, parent, is_async

    def __call__(self, func: Callable[..., Any], input: Any, **options: Any) -> Any:
        return self.schedule(_task(func, self), input, **options)


def _task(func: Callable[..., Any], scheduler: _TaskScheduler) -> Callable[..., Any]:
    boundary = _Boundary(scheduler.plan, "task", _task_name(func), NodeSettings())
    scope = Scope(scheduler.plan.pipeline, scheduler.parent, scheduler.plan.auto)
    is_async = inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(getattr(func, "__call__", None))

    def call_of(args: Any, kwargs: Any, engine: Any) -> NodeCall:
        token = CURRENT.set(scope)  # LangGraph may run the task in a context that the node never had
        try:
            return boundary.call((args, kwargs), var_child_runnable_config.get() or {}, engine)
        finally:
            CURRENT.reset(token)

    async def async_task(*args: Any, **kwargs: Any) -> Any:
        async def engine(call: NodeCall) -> Any:
            inner_args, inner_kwargs = call.input
            with boundary.enter(call, call.config):  # type: ignore[arg-type]
                if is_async:
                    return await func(*inner_args, **inner_kwargs)
                return await run_in_executor(None, func, *inner_args, **inner_kwargs)

        return await run_async(boundary.pipeline, call_of(args, kwargs, engine))

    def sync_task(*args: Any, **kwargs: Any) -> Any:
        def work(call: NodeCall) -> Any:
            inner_args, inner_kwargs = call.input
            with boundary.enter(call, call.config):  # type: ignore[arg-type]
                return func(*inner_args, **inner_kwargs)

        return run_sync(boundary.pipeline, call_of(args, kwargs, None), work)

    return _named_like(func, async_task if scheduler.is_async or is_async else sync_task)


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
            with self.boundary.enter(call, call.config):  # type: ignore[arg-type]
                return self.path.invoke(call.input, call.config, **kwargs)  # type: ignore[arg-type]

        return run_sync(self.boundary.pipeline, self.boundary.call(input, config or {}, None), work)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        async def engine(call: NodeCall) -> Any:
            with self.boundary.enter(call, call.config):  # type: ignore[arg-type]
                return await self.path.ainvoke(call.input, call.config, **kwargs)  # type: ignore[arg-type]

        return await run_async(self.boundary.pipeline, self.boundary.call(input, config or {}, engine))


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


