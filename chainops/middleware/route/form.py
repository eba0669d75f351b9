"""Whether an answer has the form that the call asked for: its schema, and those of the tools that it calls."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from chainops.calls import ModelCall, ModelResult

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

__all__ = ["why_wrong_form"]


def why_wrong_form(call: ModelCall, result: ModelResult) -> str:
    """What is wrong with the form of the answer; empty: nothing, or no form was asked for."""
    message = result.message
    if message.tool_calls:
        return next(filter(None, (_wrong_call(call.params.get("tools"), one) for one in message.tool_calls)), "")
    wanted = call.params.get("response_format")
    if not isinstance(wanted, Mapping) or wanted.get("type") not in ("json_object", "json_schema"):
        return ""
    try:
        value = orjson.loads(str(message.text))
    except orjson.JSONDecodeError:
        return "no JSON, though it was asked for"
    named = wanted.get("json_schema")
    schema = named.get("schema") if isinstance(named, Mapping) else wanted.get("schema")
    return f"not of its schema: {wrong}" if (wrong := _wrong(schema, value)) else ""


def _wrong_call(tools: Any, called: Mapping[str, Any]) -> str:
    if not isinstance(tools, list | tuple) or not all(isinstance(t, Mapping) and "function" in t for t in tools):
        return ""  # tools in the words of one maker: the model that was told them has checked its calls
    known = {tool["function"].get("name"): tool["function"].get("parameters") for tool in tools}
    if called["name"] not in known:
        return f"calls {called['name']!r}, which is no tool of the call"
    wrong = _wrong(known[called["name"]], called["args"])
    return f"a call of {called['name']!r} not of its schema: {wrong}" if wrong else ""


def _wrong(schema: Any, value: Any) -> str:
    if not isinstance(schema, Mapping) or not schema:
        return ""
    try:
        check = _validator(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS))
    except orjson.JSONEncodeError:
        return ""
    if check is None:
        return ""
    from referencing.exceptions import Unresolvable

    try:
        error = next(check.iter_errors(value), None)
    except Unresolvable:  # it points outside of itself, where nothing is fetched from
        return ""
    return "" if error is None else f"{error.json_path} {error.message}"[:200]


@lru_cache(maxsize=256)
def _validator(schema: bytes) -> Validator | None:
    """None for a schema that is none: no answer can be blamed for it. References are looked up in the schema only."""
    from jsonschema import Draft202012Validator, SchemaError
    from referencing import Registry

    tree = orjson.loads(schema)
    try:
        Draft202012Validator.check_schema(tree)
    except SchemaError:
        return None
    return Draft202012Validator(tree, registry=Registry())
