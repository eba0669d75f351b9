"""Why a call was, or was not, answered from the cache: its entry, what was noted, and the entry most like it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import orjson

from chainops.errors import StoreError
from chainops.store.cache.protocol import CacheStore

__all__ = ["explain", "find", "refusals", "rows", "stats"]

MAX_COMPARED = 5000


def rows(store: CacheStore, prefix: str = "", limit: int | None = None) -> list[dict[str, Any]]:
    """Entries as they are stored, with ``key`` and ``bytes``, newest first."""
    found = []
    for key in islice(store.keys(prefix), limit):
        data = store.get(key)
        if data is not None:
            found.append({"key": key, "bytes": len(data), **orjson.loads(data)})
    return found


def find(store: CacheStore, prefix: str) -> dict[str, Any]:
    """The one entry, or else the note, whose key begins with ``prefix``.

    Raises:
        StoreError: code ``cache.unknown_key``: there is none, or more than one.
    """
    keys = list(islice(store.keys(prefix), 2))
    if len(keys) > 1:
        raise StoreError(
            f"More than one key begins with {prefix!r}", hint="Give more of its digits.", code="cache.unknown_key"
        )
    if keys:
        return {"state": "cached", **rows(store, keys[0])[0]}
    for key, data in store.noted(prefix) if prefix else ():
        return {"state": "not kept", "key": key, **orjson.loads(data)}
    raise StoreError(
        f"No entry and no note has a key that begins with {prefix!r}",
        hint="It expired, was invalidated or pushed out, or is of another directory.",
        code="cache.unknown_key",
    )


def refusals(store: CacheStore, limit: int) -> list[dict[str, Any]]:
    """The calls that were not kept, newest first; ``key`` is empty where they have none."""
    return [{"key": key, **orjson.loads(data)} for key, data in store.noted("")[:limit]]


def explain(store: CacheStore, prefix: str) -> dict[str, Any]:
    """What :func:`find` finds, without its value, and ``nearest``: the entry most like it and what differs.

    ``differs`` has the name of each part that is not the same, with both values (long ones as their hash).
    """
    found = find(store, prefix)
    found.pop("value", None)
    best: tuple[int, dict[str, Any]] | None = None
    for other in rows(store, limit=MAX_COMPARED):
        if other["key"] == found["key"] or other["kind"] != found["kind"]:
            continue
        different = differences(found["parts"], other["parts"])
        score = -len(different)
        if best is None or score > best[0]:
            best = score, {"key": other["key"], "created": other["created"], "differs": different}
    return {**found, "nearest": best[1] if best else None}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The parts that are not the same, by name; of messages, each for itself."""
    found = {}
    for name in sorted({*one, *other}):
        mine, theirs = one.get(name), other.get(name)
        if mine == theirs:
            continue
        if name == "messages" and isinstance(mine, list) and isinstance(theirs, list):
            for i in range(max(len(mine), len(theirs))):
                pair = [part[i] if i < len(part) else None for part in (mine, theirs)]
                if pair[0] != pair[1]:
                    found[f"messages[{i}]"] = pair
        else:
            found[name] = [mine, theirs]
    return found


def stats(store: CacheStore) -> dict[str, Any]:
    """Counts, ratios and what was saved, over all and by kind of call, and hits and misses by hour.

    ``hit_ratio`` is the share of calls that were not made, among those that the cache was asked for.
    """
    entries, size = store.size()
    kinds: dict[str, dict[str, float]] = {}
    hours: dict[int, dict[str, float]] = {}
    for (hour, kind, what), n in store.counted().items():
        counts = kinds.setdefault(kind, {})
        counts[what] = counts.get(what, 0) + n
        if what in ("hit", "joined", "miss"):
            at = hours.setdefault(hour, {"hits": 0, "misses": 0})
            at["misses" if what == "miss" else "hits"] += n
    total: dict[str, float] = {}
    for counts in kinds.values():
        for what, n in counts.items():
            total[what] = total.get(what, 0) + n
    return {
        "entries": entries,
        "bytes": size,
        "total": _figures(total),
        "kinds": {kind: _figures(counts) for kind, counts in sorted(kinds.items())},
        "hours": [{"hour": hour * 3600, **counts} for hour, counts in sorted(hours.items())],
    }


def _figures(counts: Mapping[str, float]) -> dict[str, Any]:
    hits, joined, misses = (int(counts.get(what, 0)) for what in ("hit", "joined", "miss"))
    asked = hits + joined + misses
    return {
        "hits": hits,
        "joined": joined,
        "misses": misses,
        "not_cacheable": int(counts.get("not cacheable", 0)),
        "errors_repeated": int(counts.get("error hit", 0)),
        "hit_ratio": round((hits + joined) / asked, 4) if asked else None,
        "saved_ms": round(counts.get("saved_ms", 0), 1),
        "saved_tokens": int(counts.get("saved_tokens", 0)),
        "saved_micro": int(counts.get("saved_micro", 0)),
    }
