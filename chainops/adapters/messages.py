"""A message that a layer replaced keeps its id, so that LangGraph's ``add_messages`` replaces it in the state."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage
from langgraph.types import Command

__all__ = ["keep_ids"]


def keep_ids(result: Any, original: Any) -> Any:
    """``result`` of the layers, in which messages without an id take that of the node's message at the same place.

    ``original``: what the node itself returned, None when it never ran.
    """
    if result is original or original is None:
        return result
    before, after = _update(original), _update(result)
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() & after.keys():
            _keep(before[key], after[key])
    else:
        _keep(before, after)
    return result


def _update(result: Any) -> Any:
    return result.update if isinstance(result, Command) else result


def _keep(before: Any, after: Any) -> None:
    if isinstance(before, BaseMessage) and isinstance(after, BaseMessage):
        if after.id is None and after is not before:
            after.id = before.id
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for one, other in zip(before, after, strict=True):
            if isinstance(one, BaseMessage) and isinstance(other, BaseMessage):
                _keep(one, other)
