"""Which tools may be called again, and how a tool knows that it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import orjson

from chainops.calls import ToolCall

__all__ = ["ARGUMENT", "is_idempotent", "with_key"]

ARGUMENT = "idempotency_key"


def is_idempotent(call: ToolCall, globs: Sequence[str]) -> bool:
    """True when the tool's name matches, or its metadata says ``{"chainops": {"idempotent": True}}``.

    A retriever only reads; so does a tool that is called ``pure`` for the cache.
    """
    if call.kind == "retriever" or any(fnmatchcase(call.name, glob) for glob in globs):
        return True
    said = (getattr(call.tool, "metadata", None) or {}).get("chainops") or {}
    return bool(said.get("idempotent") or said.get("pure"))


def with_key(call: ToolCall) -> ToolCall:
    """``call`` with an ``idempotency_key`` among its arguments, where the tool takes one and has none.

    The key is the same for every attempt, in a process that goes on with the thread as well: made from thread (or run),
    id of the model's tool call, tool and arguments.
    """
    if not isinstance(call.args, Mapping):
        return call
    schema = getattr(call.tool, "args_schema", None)
    if isinstance(schema, Mapping):
        fields: Any = schema.get("properties") or ()
    else:
        fields = getattr(schema, "model_fields", None) or ()
    args: Any = call.args.get("args") if call.args.get("type") == "tool_call" else call.args
    if ARGUMENT not in fields or not isinstance(args, Mapping) or args.get(ARGUMENT):
        return call
    told = {**args, ARGUMENT: key_of(call, args)}
    return call.replace(args={**call.args, "args": told} if args is not call.args else told)


def key_of(call: ToolCall, args: Mapping[str, Any]) -> str:
    """32 hex digits."""
    parts = [call.run.thread_id or call.run.run_id, call.call_id or "", call.path, call.name]
    plain = orjson.dumps([*parts, args], default=repr, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return hashlib.blake2b(plain, digest_size=16).hexdigest()
