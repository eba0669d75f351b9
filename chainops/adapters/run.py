"""Whole runs inside the pipeline: the methods that an instrumented graph's class overrides."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langgraph._internal._config import ensure_config

from chainops.adapters.bridge import stream_async, stream_sync
from chainops.adapters.scope import CURRENT, Plan, Scope, new_run, plan_of
from chainops.calls import NodeCall
from chainops.pipeline import Pipeline

__all__ = ["RunHooks", "within_scope"]


class RunHooks:
    """Mixin before a graph's class. ``invoke``, ``ainvoke`` and the event streams all go through these two."""

    @property
    def chainops_pipeline(self) -> Pipeline:
        """The pipeline that the graph's nodes run through."""
        plan = plan_of(self)
        if plan is None:
            raise AssertionError("a graph with run hooks has instrumented nodes")
        return plan.pipeline

    def chainops_chain(self) -> dict[str, Any]:
        """What the chain is made of: nodes and their code, edges, layers and their settings, as JSON. May block."""
        from chainops.adapters.chain import describe_chain

        return describe_chain(self, self.chainops_pipeline)

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        if (merged := within_scope(self)) is not self:
            return merged.stream(input, config, **kwargs)  # type: ignore[no-any-return]
        plan, call = _begin(self, input, config)
        began: list[bool] = []

        def start(inner: NodeCall) -> Iterator[Any]:
            began.append(True)
            given = config if inner.config is call.config else inner.config
            chunks = super(RunHooks, self).stream(inner.input, given, **kwargs)  # type: ignore[misc]
            return _scoped(chunks, Scope(plan.pipeline, inner, plan.auto), implicit)

        implicit = var_child_runnable_config.get()
        if not plan.pipeline.wraps("run", call.off):
            return start(call)
        return _answered(stream_sync(plan.pipeline, call, start, lambda: _LastState(kwargs)), began, kwargs)

    def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        if (merged := within_scope(self)) is not self:
            return merged.astream(input, config, **kwargs)  # type: ignore[no-any-return]
        plan, call = _begin(self, input, config)
        began: list[bool] = []
        results: list[Any] = []

        def start(inner: NodeCall) -> AsyncIterator[Any]:
            began.append(True)
            given = config if inner.config is call.config else inner.config
            chunks = super(RunHooks, self).astream(inner.input, given, **kwargs)  # type: ignore[misc]
            return _ascoped(chunks, Scope(plan.pipeline, inner, plan.auto), implicit)

        implicit = var_child_runnable_config.get()
        if not plan.pipeline.wraps("run", call.off):
            return start(call)
        chunks = stream_async(plan.pipeline, call, start, lambda: _LastState(kwargs), results)
        return _aanswered(chunks, began, results, kwargs)


def within_scope(graph: Any) -> Any:
    """``graph``, or an instrumented copy of it where the enclosing node's layers must be around its nodes too."""
    scope = CURRENT.get()
    if scope is None or not scope.inside:
        return graph
    plan = plan_of(graph)
    if plan is not None and plan.pipeline.covers(scope.pipeline):
        return graph
    copies = scope.pipeline.adapted
    if graph not in copies:
        from chainops.adapters.langgraph import instrumented

        copies[graph] = instrumented(graph, scope.pipeline, auto=True)
    return copies[graph]


def _begin(graph: Any, input: Any, config: RunnableConfig | None) -> tuple[Plan, NodeCall]:
    plan = plan_of(graph)
    if plan is None:
        raise AssertionError("a graph with run hooks has instrumented nodes")
    scope = CURRENT.get()
    parent = None if scope is None else scope.call
    if parent is not None:
        run, merged = parent.run, config or {}
    else:
        merged = config or {} if graph.config is None else ensure_config(graph.config, config)
        run = new_run(plan.graph, merged)
    path = "" if parent is None else parent.path
    settings = plan.pipeline.settings_for(path)
    call = NodeCall(
        run=run,
        kind="run",
        name=plan.graph,
        path=path,
        config=merged,
        settings=settings,
        parent=parent,
        engine=_no_engine,
        input=input,
        runnable=graph,
    )
    return plan, call


async def _no_engine(call: NodeCall) -> Any:
    raise AssertionError("the bridge puts a run's engine in")


class _LastState:
    """Finds the last state among the chunks of a run, in whatever shape the caller asked for them."""

    def __init__(self, kwargs: Mapping[str, Any]) -> None:
        mode = kwargs.get("stream_mode")
        self.single = isinstance(mode, str) or mode is None
        self.bare_values = self.single and mode in (None, "values") and not kwargs.get("subgraphs")
        self.last: Any = None

    def add(self, chunk: Any) -> None:
        """Keep ``chunk`` if it is a state of the outermost graph."""
        if isinstance(chunk, tuple) and len(chunk) in (2, 3) and not self.single:
            if chunk[-2] == "values" and (len(chunk) == 2 or not chunk[0]):
                self.last = chunk[-1]
        elif isinstance(chunk, dict) and chunk.get("type") == "values" and "data" in chunk and "ns" in chunk:
            if not chunk["ns"]:
                self.last = chunk["data"]
        elif self.bare_values:
            self.last = chunk

    def result(self) -> Any:
        """The state, or None when the caller streams other modes only."""
        return self.last


def _answered(chunks: Generator[Any, None, Any], began: list[bool], kwargs: Mapping[str, Any]) -> Iterator[Any]:
    """The chunks of a run; its result in the caller's shape, where a layer answered and the graph never ran."""
    result = yield from chunks
    if not began:
        yield from _shaped(result, kwargs)


async def _aanswered(
    chunks: AsyncGenerator[Any], began: list[bool], results: list[Any], kwargs: Mapping[str, Any]
) -> AsyncGenerator[Any]:
    """As :func:`_answered`."""
    async with aclosing(chunks):
        async for chunk in chunks:
            yield chunk
    if not began:
        for chunk in _shaped(results[0], kwargs):
            yield chunk


def _shaped(state: Any, kwargs: Mapping[str, Any]) -> Iterator[Any]:
    """The last state of a run, and its last message, as LangGraph would have streamed them."""
    asked = kwargs.get("stream_mode") or "values"
    single = isinstance(asked, str)
    messages = state.get("messages") if isinstance(state, Mapping) else None
    parts: dict[str, Any] = {"values": state}
    if messages:
        parts["messages"] = (messages[-1], {})
    for mode in [asked] if single else asked:
        if mode not in parts:
            continue
        if kwargs.get("version") == "v2":
            more = {"interrupts": ()} if mode == "values" else {}
            yield {"type": mode, "ns": (), "data": parts[mode], **more}
        else:
            named = () if single else (mode,)
            where = ((),) if kwargs.get("subgraphs") else ()
            yield (*where, *named, parts[mode]) if named or where else parts[mode]


def _scoped(chunks: Generator[Any], scope: Scope, implicit: RunnableConfig | None) -> Iterator[Any]:
    """Set the scope while the graph works, not while its consumer does.

    ``implicit``: the config of the node that started the run. It is set again where a layer runs ``call_next`` in
    another context; a nested graph would not know there that it is one.
    """
    try:
        while True:
            same = var_child_runnable_config.get() is implicit
            outer = None if same else var_child_runnable_config.set(implicit)
            token = CURRENT.set(scope)
            try:
                chunk = next(chunks)
            except StopIteration:
                return
            finally:
                CURRENT.reset(token)
                if outer is not None:
                    var_child_runnable_config.reset(outer)
            yield chunk
    finally:
        chunks.close()


async def _ascoped(chunks: AsyncGenerator[Any], scope: Scope, implicit: RunnableConfig | None) -> AsyncIterator[Any]:
    """As :func:`_scoped`."""
    try:
        while True:
            same = var_child_runnable_config.get() is implicit
            outer = None if same else var_child_runnable_config.set(implicit)
            token = CURRENT.set(scope)
            try:
                chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            finally:
                CURRENT.reset(token)
                if outer is not None:
                    var_child_runnable_config.reset(outer)
            yield chunk
    finally:
        await chunks.aclose()
