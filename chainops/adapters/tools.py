"""Tools and retrievers inside the pipeline, wherever they are called: ToolNode, agents, user code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.runnables.config import var_child_runnable_config

from chainops.adapters.boundary import rewind_interrupts
from chainops.adapters.bridge import run_async, run_sync
from chainops.adapters.scope import CURRENT, Scope
from chainops.calls import ToolCall

__all__ = ["around_retriever", "around_retriever_async", "around_tool", "around_tool_async"]


def around_tool(run: Callable[..., Any]) -> Callable[..., Any]:
    """``BaseTool.run`` that goes through the pipeline of the node that calls it."""

    def wrapped(tool: Any, /, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        scope = CURRENT.get()
        if scope is None or not scope.inside:
            return run(tool, tool_input, *args, **kwargs)
        visit = _Visit(scope, "tool", tool, tool_input, kwargs)
        return run_sync(
            scope.pipeline, visit.call, lambda call: visit.enter(call, lambda: run(tool, call.args, *args, **kwargs))
        )

    return wrapped


def around_tool_async(arun: Callable[..., Any]) -> Callable[..., Any]:
    """``BaseTool.arun`` that goes through the pipeline of the node that calls it."""

    async def wrapped(tool: Any, /, tool_input: Any, *args: Any, **kwargs: Any) -> Any:
        scope = CURRENT.get()
        if scope is None or not scope.inside:
            return await arun(tool, tool_input, *args, **kwargs)
        visit = _Visit(scope, "tool", tool, tool_input, kwargs)

        async def engine(call: ToolCall) -> Any:
            return await visit.enter_async(call, lambda: arun(tool, call.args, *args, **kwargs))

        return await run_async(scope.pipeline, visit.call.replace(engine=engine))

    return wrapped


def around_retriever(invoke: Callable[..., Any]) -> Callable[..., Any]:
    """``BaseRetriever.invoke`` that goes through the pipeline of the node that calls it."""

    def wrapped(retriever: Any, /, input: Any, config: Any = None, **kwargs: Any) -> Any:
        scope = CURRENT.get()
        if scope is None or not scope.inside:
            return invoke(retriever, input, config, **kwargs)
        visit = _Visit(scope, "retriever", retriever, input, {})
        return run_sync(
            scope.pipeline,
            visit.call,
            lambda call: visit.enter(call, lambda: invoke(retriever, call.args, config, **kwargs)),
        )

    return wrapped


def around_retriever_async(ainvoke: Callable[..., Any]) -> Callable[..., Any]:
    """``BaseRetriever.ainvoke`` that goes through the pipeline of the node that calls it."""

    async def wrapped(retriever: Any, /, input: Any, config: Any = None, **kwargs: Any) -> Any:
        scope = CURRENT.get()
        if scope is None or not scope.inside:
            return await ainvoke(retriever, input, config, **kwargs)
        visit = _Visit(scope, "retriever", retriever, input, {})

        async def engine(call: ToolCall) -> Any:
            return await visit.enter_async(call, lambda: ainvoke(retriever, call.args, config, **kwargs))

        return await run_async(scope.pipeline, visit.call.replace(engine=engine))

    return wrapped


class _Visit:
    """One call of a tool or retriever, and the scope that its own code runs in."""

    def __init__(self, scope: Scope, kind: Any, tool: Any, args: Any, options: Mapping[str, Any]) -> None:
        parent = scope.call
        self.scope = scope
        self.interrupts: int | None = None
        self.call = ToolCall(
            run=parent.run,
            kind=kind,
            name=getattr(tool, "name", None) or type(tool).__name__,
            path=parent.path,
            attempt=parent.attempt,
            config=options.get("config") or parent.config,
            settings=parent.settings,
            parent=parent,
            engine=_no_engine,
            args=args,
            tool=tool,
            call_id=options.get("tool_call_id"),
        )

    def enter(self, call: ToolCall, work: Callable[[], Any]) -> Any:
        token = self._begin(call)
        try:
            return work()
        finally:
            self._end(call, token)

    async def enter_async(self, call: ToolCall, work: Callable[[], Any]) -> Any:
        token = self._begin(call)
        try:
            return await work()
        finally:
            self._end(call, token)

    def _begin(self, call: ToolCall) -> Any:
        config = var_child_runnable_config.get() or {}
        if call.guard.entries == 1:
            self.interrupts = rewind_interrupts(config, None)
        elif self.interrupts is not None:
            rewind_interrupts(config, self.interrupts)
        return CURRENT.set(Scope(self.scope.pipeline, call, self.scope.auto))

    def _end(self, call: ToolCall, token: Any) -> None:
        CURRENT.reset(token)
        asked = rewind_interrupts(var_child_runnable_config.get() or {}, None)
        if asked and asked > (self.interrupts or 0):
            call.guard.mark().asked = True


async def _no_engine(call: ToolCall) -> Any:
    raise AssertionError("the bridge puts a tool call's engine in")
