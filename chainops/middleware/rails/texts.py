"""The text of messages, documents and arguments, and the same things with another text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["flat", "replaced", "role_of"]

# what stands under these keys of a content block is no text for a model
NO_TEXT = frozenset({"type", "id", "index", "mime_type", "base64", "signature", "file_id", "call_id", "tool_call_id"})
ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "tool": "tool", "function": "tool"}


def flat(value: Any) -> str:
    """All text in a message's content, a tool's arguments or a tool's result, one leaf per line."""
    if isinstance(value, str):
        return value
    found: list[str] = []
    _collect(value, found)
    return "\n".join(found)


def _collect(value: Any, into: list[str]) -> None:
    if isinstance(value, str):
        if value and not value.startswith("data:"):
            into.append(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key not in NO_TEXT:
                if isinstance(key, str) and not isinstance(item, str | Mapping | Sequence):
                    into.append(f"{key}: {item}")
                _collect(item, into)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            _collect(item, into)
    elif hasattr(value, "page_content"):
        into.append(value.page_content)
    elif hasattr(value, "content"):
        _collect(value.content, into)
    elif hasattr(value, "model_dump"):
        _collect(value.model_dump(), into)


def role_of(message: Any) -> str:
    """``user``, ``assistant``, ``tool``, ``system``, or what a ChatMessage says; unknown ones count as user."""
    kind = getattr(message, "type", "")
    if kind == "chat":
        kind = {"human": "user", "ai": "assistant"}.get(message.role, message.role)
        return kind if kind in ("assistant", "system", "developer", "tool") else "user"
    return ROLES.get(kind, "system" if kind in ("system", "developer") else "user")


def replaced(message: Any, text: str) -> Any:
    """The message under the same id, with this text instead of its content; tool calls go as well."""
    update: dict[str, Any] = {"content": text}
    if getattr(message, "tool_calls", None) or getattr(message, "invalid_tool_calls", None):
        update |= {"tool_calls": [], "invalid_tool_calls": []}
        if hasattr(message, "tool_call_chunks"):
            update["tool_call_chunks"] = []
    extra = getattr(message, "additional_kwargs", None)
    if extra:  # providers put tool calls, refusals and reasoning there too
        update["additional_kwargs"] = {}
    return message.model_copy(update=update)
