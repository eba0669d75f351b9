"""LangChain messages as the OpenAI-style dictionaries that chat templates expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, FunctionMessage, ToolMessage

from chainops.errors import CallError

__all__ = ["as_dicts"]

ROLES = {"system": "system", "human": "user", "ai": "assistant", "tool": "tool", "function": "tool"}
SILENT_BLOCKS = frozenset(
    {"tool_use", "tool_call", "tool_call_chunk", "invalid_tool_call", "reasoning", "thinking", "redacted_thinking"}
)
"""Blocks that are no text of the conversation: calls stand in ``tool_calls``, and thoughts are not shown again."""


def as_dicts(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """One dictionary per message, in order.

    Raises:
        CallError: code ``call.content``: a message holds an image, audio or another thing that is no text.
    """
    return [_as_dict(message) for message in messages]


def _as_dict(message: BaseMessage) -> dict[str, Any]:
    kind = message.type.removesuffix("Chunk").removesuffix("Message").lower()
    role = message.role if isinstance(message, ChatMessage) else ROLES.get(kind, "")
    if not role:
        raise CallError(f"A message of type {message.type!r} cannot be shown to the model", code="call.content")
    entry: dict[str, Any] = {"role": role, "content": _text(message.content)}
    if isinstance(message, AIMessage):
        if message.tool_calls:
            entry["tool_calls"] = [
                {
                    "id": call["id"] or "",
                    "type": "function",
                    "function": {"name": call["name"], "arguments": call["args"]},
                }
                for call in message.tool_calls
            ]
        entry["content"] += "".join(call["args"] or "" for call in message.invalid_tool_calls)
    elif isinstance(message, (ToolMessage, FunctionMessage)):
        if message.name:
            entry["name"] = message.name
        entry["tool_call_id"] = getattr(message, "tool_call_id", "")
    return entry


def _text(content: str | Sequence[Any]) -> str:
    if isinstance(content, str):
        return content
    return "".join(_block_text(block) for block in content)


def _block_text(block: Any) -> str:
    if isinstance(block, str):
        return block
    kind = block.get("type") if isinstance(block, Mapping) else None
    if kind == "text":
        return str(block.get("text", ""))
    if kind == "tool_result":
        return _text(block.get("content") or "")
    if kind in SILENT_BLOCKS:
        return ""
    raise CallError(
        f"The model reads text only, but a message holds a block of type {kind!r}",
        hint="Leave images, audio and files out, or describe them in words.",
        code="call.content",
    )
