"""Texts in values: states, messages, documents, commands and whatever JSON can hold."""

from __future__ import annotations

import copy
import dataclasses
import enum
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["rebuild"]

Text = Callable[[str, str], str]
"""A text and the name of the field that holds it, to what stands there instead."""

MAX_DEPTH = 48
_NOT_TEXT = frozenset({"base64", "data", "image_url", "signature"})
_STRUCTURE = frozenset({"type", "id", "index", "tool_call_id", "mime_type", "source_type", "status"})


def rebuild(value: Any, text: Text) -> Any:
    """``value`` with every text replaced by ``text(text, field)``; the same object where nothing changes.

    Goes into dicts (their keys too), lists, tuples, sets, dataclasses, pydantic models, messages, documents, commands
    and ``Send``. Whatever else there is, numbers and bytes too, stays as it is.
    """
    return _walk(value, "", text, 0)


def _walk(value: Any, field: str, text: Text, depth: int) -> Any:
    if isinstance(value, str):
        if not value or isinstance(value, enum.Enum):
            return value
        new = text(value if value.__class__ is str else str(value), field)
        return value if new == value else new
    if value is None or isinstance(value, int | float | bytes | type) or depth > MAX_DEPTH:
        return value
    if isinstance(value, dict):
        return _walk_dict(value, text, depth + 1)
    if isinstance(value, list | tuple):
        return _walk_sequence(value, field, text, depth + 1)
    if isinstance(value, set | frozenset):
        items = {item: _walk(item, field, text, depth + 1) for item in value}
        return value if all(a is b for a, b in items.items()) else type(value)(items.values())
    return _walk_object(value, text, depth + 1)


def _walk_dict(value: dict[Any, Any], text: Text, depth: int, skip: frozenset[str] = frozenset()) -> dict[Any, Any]:
    changes: dict[Any, Any] = {}
    renamed = False
    items = []
    for key, item in list(value.items()):
        name = key if isinstance(key, str) else ""
        new_key = text(key, "") if name else key
        new = item if name in skip else _walk(item, name, text, depth)
        items.append((new_key, new))
        renamed = renamed or new_key is not key
        if new is not item:
            changes[key] = new
    if renamed:
        return dict(items)
    if not changes:
        return value
    new_dict = copy.copy(value)
    new_dict.update(changes)
    return new_dict


def _walk_sequence(value: Any, field: str, text: Text, depth: int) -> Any:
    items = [_walk(item, field, text, depth) for item in value]
    if all(a is b for a, b in zip(items, value, strict=True)):
        return value
    if isinstance(value, list):
        return items
    return type(value)(*items) if hasattr(value, "_fields") else tuple(items)


def _walk_object(value: Any, text: Text, depth: int) -> Any:
    messages = sys.modules.get("langchain_core.messages")
    if messages is not None and isinstance(value, messages.BaseMessage):
        return _walk_message(value, text, depth)
    types = sys.modules.get("langgraph.types")
    if types is not None and isinstance(value, types.Send):
        arg = _walk(value.arg, "", text, depth)
        return value if arg is value.arg else type(value)(value.node, arg)
    if dataclasses.is_dataclass(value):
        own = type(value).__module__.startswith("langgraph.")  # the ids of LangGraph's own are its own
        fields = {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value) if f.init}
        changes = _changed({k: v for k, v in fields.items() if not (own and k == "id")}, text, depth)
        return dataclasses.replace(value, **changes) if changes else value  # type: ignore[type-var]
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        changes = _changed(value.__dict__, text, depth)
        return value.model_copy(update=changes) if changes else value
    return value


def _changed(fields: Mapping[str, Any], text: Text, depth: int) -> dict[str, Any]:
    found = {}
    for name, item in fields.items():
        if (new := _walk(item, name, text, depth)) is not item:
            found[name] = new
    return found


def _walk_message(message: Any, text: Text, depth: int) -> Any:
    fields = message.__dict__
    changes: dict[str, Any] = {}
    content = fields["content"]
    new = text(content, "") if isinstance(content, str) and content else _walk_blocks(content, text, depth)
    if new is not content:
        changes["content"] = new
    for name in ("additional_kwargs", "artifact"):
        if (item := fields.get(name)) and (new := _walk(item, "", text, depth)) is not item:
            changes[name] = new
    if calls := fields.get("tool_calls"):
        new = [_walk_dict(call, text, depth, _STRUCTURE) for call in calls]
        if any(a is not b for a, b in zip(new, calls, strict=True)):
            changes["tool_calls"] = new
    for name in ("tool_call_chunks", "invalid_tool_calls"):
        if item := fields.get(name):
            new = [_walk_arguments(call, text, depth) for call in item]
            if any(a is not b for a, b in zip(new, item, strict=True)):
                changes[name] = new
    if (name := fields.get("name")) and (new := text(name, "")) != name:
        changes["name"] = new.strip("<>")  # models take letters, digits, hyphens and underscores there
    metadata: Any = fields.get("response_metadata") or {}
    if metadata and (new := _walk(metadata, "", text, depth)) is not metadata:
        changes["response_metadata"] = metadata = new
    if not changes:
        return message
    if "logprobs" in metadata:  # they name the tokens that were replaced
        changes["response_metadata"] = {k: v for k, v in metadata.items() if k != "logprobs"}
    return message.model_copy(update=changes)


def _walk_blocks(content: Any, text: Text, depth: int) -> Any:
    if not isinstance(content, list):
        return content
    blocks = []
    for block in content:
        if not isinstance(block, dict):
            blocks.append(_walk(block, "", text, depth))
            continue
        parts = {k: v for k, v in block.items() if k not in _NOT_TEXT and not _is_data(v)}
        new = _walk_dict(parts, text, depth + 1, _STRUCTURE)
        blocks.append(block if new is parts else {**block, **new})
    return content if all(a is b for a, b in zip(blocks, content, strict=True)) else blocks


def _is_data(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("data:")


def _walk_arguments(call: Mapping[str, Any], text: Text, depth: int) -> Mapping[str, Any]:
    """Arguments as JSON text: their values are changed, so that what comes out is JSON again."""
    args = call.get("args")
    if not isinstance(args, str) or not args:
        return call
    try:
        parsed = json.loads(args)
    except ValueError:
        new = text(args, "")
    else:
        walked = _walk(parsed, "", text, depth)
        new = args if walked is parsed else json.dumps(walked, ensure_ascii=False)
    return call if new == args else {**call, "args": new}
