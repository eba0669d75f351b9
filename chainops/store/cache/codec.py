"""Values that a cache may hold: a closed set of types, copied, written as JSON and read back without loss.

No pickle, no class names that are looked up: what is read back is one of these types, or an error.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from functools import cache
from typing import Any

__all__ = ["Unfaithful", "copy_value", "decode", "encode"]

MARK = "$"
MAX_DEPTH = 200
_SAFE_INT = 2**63


class Unfaithful(Exception):
    """The value holds something that would not come back as it was; the message names its type."""


def copy_value(value: Any) -> Any:
    """A copy that shares nothing mutable with ``value``. Messages lose their id: served again, they are new ones.

    Raises:
        Unfaithful: something in it is of no type that a cache may hold.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    try:
        return _copiers()[kind](value)
    except KeyError:
        raise Unfaithful(f"{kind.__module__}.{kind.__qualname__}") from None
    except RecursionError:
        raise Unfaithful("a value that holds itself, or is nested too deep") from None


def encode(value: Any) -> Any:
    """JSON for ``value``, different for different values.

    Raises:
        Unfaithful: as :func:`copy_value`.
    """
    try:
        return _encode(value)
    except RecursionError:
        raise Unfaithful("a value that holds itself, or is nested too deep") from None


def decode(data: Any) -> Any:
    """The value that :func:`encode` was given.

    Raises:
        ValueError: ``data`` was not made by :func:`encode`.
    """
    if type(data) is list:
        return [decode(item) for item in data]
    if type(data) is not dict:
        return data
    mark = data.get(MARK)
    if mark is None:
        return {key: decode(item) for key, item in data.items()}
    try:
        return _DECODERS[mark](data["v"]) if mark in _DECODERS else _object(_by_name()[mark], data["v"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no value of a cache: {mark!r} ({error!r})") from None


_PLAIN = frozenset({str, int, float, bool, type(None), bytes})


def _copy_object(value: Any) -> Any:
    """A Pydantic object of LangChain, field by field; ``model_copy(deep=True)`` takes ten times as long."""
    new = object.__new__(type(value))
    fields = {k: v if type(v) in _PLAIN else copy_value(v) for k, v in value.__dict__.items()}
    if "tool_call_id" in fields or "response_metadata" in fields:
        fields["id"] = None
    extra = value.__pydantic_extra__
    _fill(new, fields, set(value.__pydantic_fields_set__), None if extra is None else copy_value(extra))
    return new


def _fill(new: Any, fields: dict[str, Any], given: set[str], extra: Any) -> None:
    put = object.__setattr__
    put(new, "__dict__", fields)
    put(new, "__pydantic_fields_set__", given)
    put(new, "__pydantic_extra__", extra)
    put(new, "__pydantic_private__", None)


def _copy_list(value: list[Any]) -> list[Any]:
    return [item if type(item) in _PLAIN else copy_value(item) for item in value]


def _copy_dict(value: dict[Any, Any]) -> dict[Any, Any]:
    return {
        k if type(k) in _PLAIN else copy_value(k): v if type(v) in _PLAIN else copy_value(v) for k, v in value.items()
    }


_BASIC: dict[type, Callable[[Any], Any]] = {
    list: _copy_list,
    dict: _copy_dict,
    tuple: lambda value: tuple(map(copy_value, value)),
    set: lambda value: set(map(copy_value, value)),
    frozenset: lambda value: frozenset(map(copy_value, value)),
}


@cache
def _names() -> dict[type, str]:
    """LangChain's classes, by the name under which they are written."""
    from langchain_core import messages as m
    from langchain_core.documents import Document
    from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk

    return {
        m.AIMessage: "ai",
        m.AIMessageChunk: "ai_chunk",
        m.HumanMessage: "human",
        m.SystemMessage: "system",
        m.ToolMessage: "tool",
        m.ChatMessage: "chat",
        Document: "document",
        Generation: "generation",
        GenerationChunk: "generation_chunk",
        ChatGeneration: "chat_generation",
        ChatGenerationChunk: "chat_generation_chunk",
    }


@cache
def _by_name() -> dict[str, type]:
    return {name: cls for cls, name in _names().items()}


@cache
def _copiers() -> dict[type, Callable[[Any], Any]]:
    return {**_BASIC, **dict.fromkeys(_names(), _copy_object), _accessor(): lambda value: value}


@cache
def _accessor() -> type:
    """A text that can be called, for old callers of ``message.text``: LangChain keeps it in a ``ChatGeneration``."""
    from langchain_core.messages.base import TextAccessor

    return TextAccessor


def _encode(value: Any) -> Any:
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return value
    if kind is int:
        return value if -_SAFE_INT <= value < _SAFE_INT else {MARK: "int", "v": str(value)}
    if kind is float:
        return value if math.isfinite(value) else {MARK: "float", "v": repr(value)}
    if kind is list:
        return [_encode(item) for item in value]
    if kind is dict:
        if all(type(key) is str for key in value) and MARK not in value:
            return {key: _encode(item) for key, item in value.items()}
        return {MARK: "dict", "v": [[_encode(key), _encode(item)] for key, item in value.items()]}
    if kind is tuple:
        return {MARK: "tuple", "v": [_encode(item) for item in value]}
    if kind is bytes:
        return {MARK: "bytes", "v": base64.b64encode(value).decode()}
    if kind is set or kind is frozenset:
        return {MARK: kind.__name__, "v": sorted((_encode(item) for item in value), key=repr)}
    if kind in _names():
        fields = {"fields": _encode(value.__dict__), "set": sorted(value.__pydantic_fields_set__)}
        return {MARK: _names()[kind], "v": {**fields, "extra": _encode(value.__pydantic_extra__)}}
    if kind is _accessor():
        return str(value)
    raise Unfaithful(f"{kind.__module__}.{kind.__qualname__}")


def _object(cls: Any, data: dict[str, Any]) -> Any:
    fields, extra = decode(data["fields"]), decode(data["extra"])
    if fields.keys() != cls.model_fields.keys():  # written by another version of LangChain
        return cls(**{**fields, **(extra or {})})
    new = object.__new__(cls)
    _fill(new, fields, set(data["set"]), extra)
    return new


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "float": float,
    "bytes": lambda text: base64.b64decode(text, validate=True),
    "tuple": lambda items: tuple(map(decode, items)),
    "set": lambda items: set(map(decode, items)),
    "frozenset": lambda items: frozenset(map(decode, items)),
    "dict": lambda pairs: {decode(key): decode(item) for key, item in pairs},
}
