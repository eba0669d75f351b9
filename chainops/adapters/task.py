"""``@task`` functions inside the pipeline."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from langchain_core.runnables.config import run_in_executor, var_child_runnable_config

from chainops.adapters.boundary import Boundary, Inside
from chainops.adapters.bridge import run_sync
from chainops.adapters.scope import CURRENT
from chainops.calls import NodeCall, NodeSettings

__all__ = ["wrap_task"]


def wrap_task(func: Callable[..., Any], scope: Inside) -> Callable[..., Any]:
    """``func`` as a call of kind ``task`` under the node that schedules it."""
    boundary = Boundary(scope.plan, "task", _task_name(func), NodeSettings(), func)
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
            with Inside(boundary, call, scope.is_async):
                if is_async:
                    return await func(*inner_args, **inner_kwargs)
                return await run_in_executor(None, func, *inner_args, **inner_kwargs)

        return await boundary.run(call_of(args, kwargs, engine))

    def sync_task(*args: Any, **kwargs: Any) -> Any:
        def work(call: NodeCall) -> Any:
            inner_args, inner_kwargs = call.input
            with Inside(boundary, call, scope.is_async):
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
