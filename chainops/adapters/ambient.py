"""Models, tools, retrievers and graphs that nodes call unwrapped: picked up through their base classes.

Installed once per process by ``instrument(..., auto=True)``. Outside an instrumented node every patched method
does exactly what it did before.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

from chainops.adapters.scope import CURRENT

__all__ = ["install"]

_lock = threading.Lock()
_installed = False

_MODEL_ENTRIES = (
    "_generate_with_cache",
    "_agenerate_with_cache",
    "stream",
    "astream",
    "_iter_v2_events",
    "_aiter_v2_events",
)


def install() -> None:
    """Patch the base classes of LangChain and LangGraph, once."""
    global _installed  # noqa: PLW0603 - once per process is what it says
    with _lock:
        if _installed:
            return
        _installed = True
        _patch_models()
        _patch_tools()
        _patch_graphs()


def _patch_models() -> None:
    from langchain_core.language_models import BaseChatModel

    from chainops.adapters.chat_model import shim

    def through_shim(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def entry(model: Any, /, *args: Any, **kwargs: Any) -> Any:
            scope = CURRENT.get()
            return method(model if scope is None or not scope.inside else shim(model), *args, **kwargs)

        return entry

    for name in _MODEL_ENTRIES:
        setattr(BaseChatModel, name, through_shim(getattr(BaseChatModel, name)))


def _patch_tools() -> None:
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.tools import BaseTool

    from chainops.adapters import tools

    for cls, name, around in (
        (BaseTool, "run", tools.around_tool),
        (BaseTool, "arun", tools.around_tool_async),
        (BaseRetriever, "invoke", tools.around_retriever),
        (BaseRetriever, "ainvoke", tools.around_retriever_async),
    ):
        method = getattr(cls, name)
        setattr(cls, name, functools.wraps(method)(around(method)))


def _patch_graphs() -> None:
    from langgraph.pregel import Pregel

    from chainops.adapters.run import within_scope

    def through_copy(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def entry(graph: Any, /, *args: Any, **kwargs: Any) -> Any:
            inner = within_scope(graph)
            if inner is graph:
                return method(graph, *args, **kwargs)
            return getattr(inner, method.__name__)(*args, **kwargs)

        return entry

    for name in ("stream", "astream"):
        setattr(Pregel, name, through_copy(getattr(Pregel, name)))
