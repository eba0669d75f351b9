"""Keys: canonical JSON of everything that an answer depends on, hashed. Nothing is glued together from texts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from chainops.store.cache.codec import Unfaithful, encode

__all__ = ["canonical", "configurable_of", "digest_of", "digest_text", "messages_key"]

_NOT_SENT = frozenset(
    {"id", "response_metadata", "usage_metadata", "artifact", "example", "chunk_position", "tool_call_chunks", "type"}
)
"""Fields of a message that a model does not get to see."""


def digest_of(parts: Mapping[str, Any]) -> str:
    """32 hexadecimal digits for JSON.

    Raises:
        Unfaithful: it holds what is no JSON text, for example half a character.
    """
    try:
        return hashlib.blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()
    except TypeError as error:
        raise Unfaithful(str(error)) from None


def digest_text(value: Any) -> str:
    """16 hexadecimal digits for JSON."""
    return digest_of({"": value})[:16]


def canonical(value: Any) -> Any:
    """JSON for a node's input, a tool's arguments or keywords: messages in it as a model would see them.

    Raises:
        Unfaithful: something in it cannot be told apart from other values.
    """
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return value
    if kind is list:
        return _list(value)
    if kind is dict:
        if all(type(key) is str for key in value) and "$" not in value:
            return {key: item if type(item) is str else canonical(item) for key, item in value.items()}
        pairs = [[encode(key), canonical(item)] for key, item in value.items()]
        return {"$": "dict", "v": sorted(pairs, key=lambda pair: orjson.dumps(pair[0], option=orjson.OPT_SORT_KEYS))}
    if kind is tuple:
        return {"$": "tuple", "v": _list(value)}
    if hasattr(value, "response_metadata"):
        return messages_key([value])[0]
    return encode(value)


def _list(value: Sequence[Any]) -> Any:
    first = value[0] if value else ""
    if type(first) is not str and all(hasattr(message, "response_metadata") for message in value):
        return messages_key(value)
    return [item if type(item) is str else canonical(item) for item in value]


def messages_key(messages: Sequence[Any]) -> list[Any]:
    """Messages as a model sees them: without ids, and the ids of tool calls numbered in the order they appear."""
    numbers: dict[str, str] = {}
    return [_message(message, numbers) for message in messages]


def _message(message: Any, numbers: dict[str, str]) -> dict[str, Any]:
    fields = {k: v for k, v in message.__dict__.items() if k not in _NOT_SENT and v}
    for call in (*fields.get("tool_calls", ()), *fields.get("invalid_tool_calls", ())):
        numbers.setdefault(call["id"], f"call {len(numbers)}")
    found = {name: value if type(value) is str else encode(value) for name, value in fields.items()}
    extra = message.__pydantic_extra__
    if extra:
        found["extra"] = encode(extra)
    if numbers:
        found = _renumbered(found, numbers)
    found["type"] = message.type.removesuffix("MessageChunk").lower()  # pieces that were added up are a message
    if not type(message).__module__.startswith("langchain_core."):
        found["class"] = f"{type(message).__module__}.{type(message).__qualname__}"
    found["content"] = fields.get("content", "") if type(message.content) is str else found.get("content", [])
    return {"$": "message", "v": found}


def _renumbered(value: Any, numbers: Mapping[str, str]) -> Any:
    """Where ``id`` or ``tool_call_id`` is the id of a tool call, its number in its place."""
    if type(value) is list:
        return [_renumbered(item, numbers) for item in value]
    if type(value) is dict:
        return {
            key: numbers[item]
            if key in ("id", "tool_call_id") and type(item) is str and item in numbers
            else _renumbered(item, numbers)
            for key, item in value.items()
        }
    return value


def configurable_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the user gave as ``configurable``, without LangGraph's own keys and the thread."""
    given = config.get("configurable")
    if not given:
        return {}
    return {
        k: v
        for k, v in given.items()
        if not k.startswith(("__", "checkpoint_")) and k not in ("thread_id", "run_id", "checkpointer")
    }
