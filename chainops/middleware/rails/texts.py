"""The text of messages, documents and arguments, and the same things with another text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["flat", "replaced", "role_of", "talk_in", "talk_of", "texts_of", "with_arguments", "with_texts"]

THOUGHTS = ("reasoning_content", "reasoning")

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


def talk_of(messages: Iterable[Any]) -> tuple[tuple[str, str], ...]:
    """A conversation as role and text."""
    return tuple((role_of(m), flat(m.content)) for m in messages)


def texts_of(message: Any) -> dict[str, str]:
    """The texts of an answer: its content under "", and its thoughts by their names."""
    found = {"": flat(message.content)}
    extras = message.additional_kwargs
    found |= {name: extras[name] for name in THOUGHTS if isinstance(extras.get(name), str)}
    return {name: text for name, text in found.items() if text}


def with_texts(message: Any, texts: Mapping[str, str]) -> Any:
    """The answer with these texts; its tool calls stay."""
    update: dict[str, Any] = {"content": texts[""]} if "" in texts else {}
    thoughts = {name: text for name, text in texts.items() if name}
    if thoughts:
        update["additional_kwargs"] = {**message.additional_kwargs, **thoughts}
    return message.model_copy(update=update)


def with_arguments(message: Any, calls: Sequence[Any]) -> Any:
    """The answer with these tool calls, in every form that it carries them."""
    from chainops.calls import tool_call_chunks

    update: dict[str, Any] = {"tool_calls": list(calls), "additional_kwargs": dict(message.additional_kwargs)}
    update["additional_kwargs"].pop("tool_calls", None)
    changed = message.model_copy(update=update)
    if hasattr(message, "tool_call_chunks"):
        changed = changed.model_copy(update={"tool_call_chunks": tool_call_chunks(changed)})
    return changed


def talk_in(state: Any) -> tuple[tuple[str, str], ...]:
    """The conversation in what a run was given: its messages in any form that LangGraph takes, else all of its text."""
    if type(state).__name__ == "Command":  # an answer to an interrupt, perhaps with more
        state = state.update
    found = state.get("messages", state) if isinstance(state, Mapping) else getattr(state, "messages", state)
    if isinstance(found, Mapping) and "content" not in found:
        text = flat(found)
        return (("user", text),) if text else ()
    from langchain_core.messages import convert_to_messages

    try:
        return talk_of(convert_to_messages(found if isinstance(found, list | tuple) else [found])) if found else ()
    except (TypeError, ValueError, NotImplementedError, KeyError):
        return (("user", flat(found)),)
