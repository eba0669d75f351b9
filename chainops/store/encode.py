"""Anything to JSON, without ever raising: the trace of a call must not depend on what the call carries."""

from __future__ import annotations

import dataclasses
import sys
from collections import deque
from collections.abc import Callable, Mapping, Set
from typing import Any

import orjson

__all__ = ["encode", "plain", "short_repr"]

MAX_DEPTH = 64
_MESSAGE_FIELDS = (
    "id",
    "name",
    "tool_calls",
    "invalid_tool_calls",
    "tool_call_id",
    "status",
    "usage_metadata",
    "response_metadata",
    "additional_kwargs",
)


def encode(value: Any) -> bytes:
    """``value`` as JSON. NaN and infinities become null; what JSON has no form for becomes a short repr."""
    try:
        return orjson.dumps(value, _default)
    except Exception:  # noqa: BLE001  foreign objects raise what they like
        return orjson.dumps(plain(value))


def short_repr(value: Any, limit: int = 200) -> str:
    """``repr(value)`` cut to ``limit`` characters; the type's name when its repr fails."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001
        return f"<{type(value).__name__}>"
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def plain(value: Any) -> Any:
    """A copy made of dict, list, str, int, float, bool and None only: what a masking hook sees."""
    return _plain(value, 0, set())


def _plain(value: Any, depth: int, above: set[int]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, float):
        return float(value) if value - value == 0 else None
    if isinstance(value, str):
        return str(value).encode("utf-8", "replace").decode()
    if depth > MAX_DEPTH or id(value) in above:
        return "<cycle>" if id(value) in above else "<too deep>"
    above.add(id(value))
    try:
        if isinstance(value, Mapping):
            return {_key(k): _plain(v, depth + 1, above) for k, v in list(value.items())}
        if isinstance(value, list | tuple | deque):
            return [_plain(v, depth + 1, above) for v in list(value)]
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
            return _plain(fields, depth + 1, above)
        return _plain(_default(value), depth + 1, above)
    except Exception:  # noqa: BLE001
        return short_repr(value)
    finally:
        above.discard(id(value))


def _key(key: Any) -> str:
    """Keys that are no text become one, as in Python's own json ("3", "true")."""
    text = key if isinstance(key, str) else "null" if key is None else short_repr(key)
    text = text.lower() if isinstance(key, bool) else text
    return text.encode("utf-8", "replace").decode()


def _default(value: Any) -> Any:
    cls = type(value)
    form = _forms.get(cls)
    if form is None:
        form = _forms[cls] = _find_form(cls)
    return form(value)


def _find_form(cls: type) -> Callable[[Any], Any]:
    messages = sys.modules.get("langchain_core.messages")
    if messages is not None and issubclass(cls, messages.BaseMessage):
        return _message
    if issubclass(cls, Mapping):
        return dict
    if issubclass(cls, list | tuple | Set | deque):
        return list
    if issubclass(cls, str):
        return str
    if issubclass(cls, bytes | bytearray | memoryview):
        return lambda value: f"<{len(value)} bytes>"
    if cls.__module__ == "numpy":
        return lambda value: value.tolist() if getattr(value, "size", 0) <= 1000 else short_repr(value)
    if issubclass(cls, BaseException):
        return lambda value: f"{cls.__name__}: {value}"
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and issubclass(cls, pydantic.BaseModel):
        return lambda value: dict(value.__dict__)
    types = sys.modules.get("langgraph.types")
    if types is not None and issubclass(cls, types.Send):
        return lambda value: {"node": value.node, "arg": value.arg}
    return short_repr


def _message(message: Any) -> dict[str, Any]:
    """A LangChain message: what it says first; what is empty is left out."""
    found: dict[str, Any] = {"type": message.type, "content": message.content}
    fields = message.__dict__
    for name in _MESSAGE_FIELDS:
        if content := fields.get(name):
            found[name] = content
    return found


_forms: dict[type, Callable[[Any], Any]] = {}
