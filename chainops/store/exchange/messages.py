"""Messages of a chat in the shapes that other systems store, and in the one that the trace file has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["from_any", "to_openai"]

_TO_ROLE = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}
_TO_TYPE = {"user": "human", "assistant": "ai", "developer": "system", "function": "tool"}


def to_openai(messages: Any) -> list[dict[str, Any]] | None:
    """Messages of a trace as ``{"role", "content", "tool_calls"}``; None where they are no messages."""
    given = [messages] if isinstance(messages, dict) else messages
    if not isinstance(given, list) or not given or not all(isinstance(m, dict) and "type" in m for m in given):
        return None
    return [_openai(message) for message in given]


def _openai(message: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"role": _TO_ROLE.get(message["type"], message["type"]), "content": message.get("content")}
    if calls := message.get("tool_calls"):
        found["tool_calls"] = [
            {
                "id": call.get("id"),
                "type": "function",
                "function": {"name": call.get("name"), "arguments": _json(call.get("args"))},
            }
            for call in calls
        ]
    if message.get("tool_call_id"):
        found["tool_call_id"] = message["tool_call_id"]
    return found


def from_any(value: Any) -> list[dict[str, Any]] | None:
    """Messages in any of the known shapes as the trace file has them, or None where there are none.

    Known: OpenAI's roles, LangChain's constructors (``{"lc": 1, "kwargs": ...}``), ``{"type", "content"}``,
    ``{"messages": [...]}`` and ``{"generations": [[{"message": ...}]]}`` around them, batches of one.
    """
    if isinstance(value, Mapping):
        for name in ("messages", "choices", "generations", "message"):
            if name in value:
                return from_any(value[name])
        one = _message(value)
        return None if one is None else [one]
    if not isinstance(value, list) or not value:
        return None
    if len(value) == 1 and isinstance(value[0], list):
        return from_any(value[0])
    found: list[dict[str, Any]] = []
    for item in value:
        inner = _message(item) if isinstance(item, Mapping) else None
        if inner is None and isinstance(item, Mapping) and "message" in item:
            inner = _message(item["message"]) if isinstance(item["message"], Mapping) else None
        if inner is None:
            return None
        found.append(inner)
    return found


def _message(value: Mapping[str, Any]) -> dict[str, Any] | None:
    if "lc" in value and isinstance(value.get("kwargs"), Mapping):
        fields = dict(value["kwargs"])
        fields.setdefault(
            "type", str((value.get("id") or ["message"])[-1]).removesuffix("Chunk").removesuffix("Message").lower()
        )
        value = fields
    role = value.get("role") or value.get("type")
    if not isinstance(role, str) or not ({"content", "tool_calls"} & value.keys()):
        return None
    found: dict[str, Any] = {"type": _TO_TYPE.get(role, role.removesuffix("MessageChunk").lower())}
    found["content"] = value.get("content") if value.get("content") is not None else ""
    if calls := value.get("tool_calls"):
        found["tool_calls"] = [_call(call) for call in calls if isinstance(call, Mapping)]
    if value.get("tool_call_id"):
        found["tool_call_id"] = value["tool_call_id"]
    return found


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, Mapping):
        return {"name": call.get("name"), "args": call.get("args") or {}, "id": call.get("id")}
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = orjson.loads(arguments or "{}")
        except orjson.JSONDecodeError:
            arguments = {"arguments": arguments}
    return {"name": function.get("name"), "args": arguments or {}, "id": call.get("id")}


def _json(value: Any) -> str:
    return orjson.dumps(value if value is not None else {}).decode()
