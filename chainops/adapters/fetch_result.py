"""The tool by which a model reads a result again that compression left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langgraph.prebuilt import InjectedState

__all__ = ["fetch_result"]

ORIGINAL = (
    "chainops_original"  # where compression keeps what it shortened; middleware and adapters do not import each other
)


@tool
def fetch_result(call_id: str, state: Annotated[Any, InjectedState]) -> str:
    """Reads the result of an earlier tool call again, whole. call_id: the id of that call."""
    messages = state.get("messages", ()) if isinstance(state, Mapping) else getattr(state, "messages", ())
    for message in messages:
        if isinstance(message, ToolMessage) and message.tool_call_id == call_id:
            whole = message.artifact.get(ORIGINAL) if isinstance(message.artifact, Mapping) else None
            return str(message.text) if whole is None else str(whole)
    known = [m.tool_call_id for m in messages if isinstance(m, ToolMessage)]
    return f"There is no result of a call {call_id!r}. Known: {', '.join(known[-20:]) or 'none'}."
