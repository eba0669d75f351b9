"""One text for one value: canonical JSON, and the hash that names a version."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import orjson

__all__ = ["canonical", "fingerprint", "json_mistakes"]

MAX_DEPTH = 100


def canonical(value: Any) -> bytes:
    """JSON in UTF-8 with sorted keys and no spaces: equal values give equal bytes, on every machine.

    An integer and a float differ (``1`` and ``1.0``), as they do for a reader of the JSON.

    Raises:
        ValueError: something in ``value`` is no JSON, see :func:`json_mistakes`; all of it is named.
    """
    if mistakes := json_mistakes(value):
        raise ValueError("; ".join(mistakes))
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def fingerprint(data: bytes) -> str:
    """The sha256 of ``data``, as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def json_mistakes(value: Any, place: str = "", *, limit: int = 20) -> list[str]:
    """What in ``value`` is no JSON, each with its place ("user.age"); empty when all of it is.

    JSON here: dict with str keys, list, str, bool, None, finite float, int of 64 bits; exactly these types, no
    subclasses (they could bring methods of their own), at most 100 levels deep.
    """
    found: list[str] = []
    _walk(value, place, found, limit, 0)
    return found


def _walk(value: Any, place: str, found: list[str], limit: int, depth: int) -> None:
    kind = type(value)
    if len(found) >= limit or kind is bool or value is None:
        return
    here = place or "the value"
    if kind is str:
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            found.append(f"{here} holds half a character (a lone surrogate)")
    elif kind is int:
        if not -(2**63) <= value < 2**64:
            found.append(f"{here} does not fit into 64 bits")
    elif kind is float:
        if not math.isfinite(value):
            found.append(f"{here} is {value}, which JSON does not have")
    elif depth >= MAX_DEPTH:
        found.append(f"{here} is nested more than {MAX_DEPTH} levels deep")
    elif kind is list:
        for i, item in enumerate(value):
            _walk(item, f"{place}[{i}]", found, limit, depth + 1)
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str:
                found.append(f"{here} has the key {key!r}, which is no text")
            else:
                _walk(key, f"a key of {here}", found, limit, depth)
                _walk(item, f"{place}.{key}" if place else key, found, limit, depth + 1)
    else:
        found.append(f"{here} is a {kind.__module__}.{kind.__qualname__}, not JSON".replace("builtins.", ""))
