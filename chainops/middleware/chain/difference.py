"""What changed between two versions of a chain, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["differences"]


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One line per change, nothing where the two are the same."""
    found = list(_nodes(old.get("nodes", {}), new.get("nodes", {}), ""))
    found += _edges(old, new)
    found += _models(old, new)
    found += _layers(old.get("layers", []), new.get("layers", []))
    if old.get("settings") != new.get("settings"):
        found.append("settings of nodes changed")
    found += _versions(old.get("versions", {}), new.get("versions", {}))
    if old.get("graph") != new.get("graph"):
        found.insert(0, f"the graph is {new.get('graph')!r}, not {old.get('graph')!r}")
    return found or ([] if old == new else ["something changed that has no name here"])


def _nodes(old: Mapping[str, Any], new: Mapping[str, Any], path: str) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys()):
        place = f"{path}{name}"
        if name not in new:
            yield f"node {place} is gone"
        elif name not in old:
            yield f"node {place} was added"
        elif old[name] != new[name]:
            was, now = old[name].get("code", {}), new[name].get("code", {})
            if "nodes" in was and "nodes" in now:
                yield from _nodes(was["nodes"], now["nodes"], f"{place}/")
            elif _without_models(was) != _without_models(now):
                yield f"node {place}: its code, or what it uses, changed"
            if old[name].get("settings") != new[name].get("settings"):
                yield f"node {place}: its settings changed"


def _edges(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    was, now = ({tuple(edge) for edge in side.get("edges", [])} for side in (old, new))
    lines = [f"edge {a} → {b}{' (conditional)' if c else ''} is gone" for a, b, c in sorted(was - now)]
    return lines + [f"edge {a} → {b}{' (conditional)' if c else ''} was added" for a, b, c in sorted(now - was)]


def _models(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    was, now = _model_parts(old), _model_parts(new)
    if was == now:
        return []
    files = ({part["model_sha256"] for part in side if "model_sha256" in part} for side in (was, now))
    before, after = files
    if before != after:
        gone = ", ".join(sorted(sha[:12] for sha in before - after)) or "none"
        came = ", ".join(sorted(sha[:12] for sha in after - before)) or "none"
        return [f"model file changed: {gone} → {came}"]
    return ["settings of a model changed"]


def _model_parts(value: Any) -> list[Mapping[str, Any]]:
    """What models say of themselves, wherever it stands in the description."""
    if isinstance(value, Mapping):
        if "model_sha256" in value:
            return [value]
        return [part for inner in value.values() for part in _model_parts(inner)]
    if isinstance(value, list):
        return [part for inner in value for part in _model_parts(inner)]
    return []


def _without_models(value: Any) -> Any:
    if isinstance(value, Mapping):
        return "model" if "model_sha256" in value else {k: _without_models(v) for k, v in value.items()}
    return [_without_models(inner) for inner in value] if isinstance(value, list) else value


def _layers(old: list[Any], new: list[Any]) -> Iterator[str]:
    was, now = ({layer["name"]: layer for layer in side} for side in (old, new))
    yield from (f"layer {name} is gone" for name in was if name not in now)
    yield from (f"layer {name} was added" for name in now if name not in was)
    if [n for n in was if n in now] != [n for n in now if n in was]:
        yield f"the order of the layers is {', '.join(now)}, not {', '.join(was)}"
    for name in was.keys() & now.keys():
        if was[name] != now[name]:
            before, after = was[name].get("settings") or {}, now[name].get("settings") or {}
            keys = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
            yield f"layer {name}: {', '.join(keys) or 'its class'} changed"


def _versions(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for kind in sorted(old.keys() | new.keys()):
        was, now = old.get(kind, {}), new.get(kind, {})
        for name in sorted(was.keys() | now.keys()):
            if was.get(name) != now.get(name):
                yield f"{kind} {name}: version {was.get(name, 'none')} → {now.get(name, 'none')}"
