"""What a whole chain is made of, as JSON that is equal in every process for the same chain."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any

from langgraph.pregel import Pregel

from chainops.identity import identity_of
from chainops.pipeline import Middleware, Pipeline

__all__ = ["describe_chain"]


def describe_chain(graph: Any, pipeline: Pipeline) -> dict[str, Any]:
    """Topology, code of the nodes, layers with their settings.

    Of a model in a node its file's hash is part of the code's identity; hashing a file the first time takes a while.
    """
    return {
        **_graph(graph),
        "layers": [_layer(layer) for layer in pipeline.middleware],
        "settings": {
            glob: {"off": sorted(one.off), **identity_of(dict(one.metadata))} for glob, one in pipeline.nodes.items()
        },
    }


def _graph(graph: Any) -> dict[str, Any]:
    nodes: dict[str, Any] = {}
    for name, node in sorted(graph.nodes.items()):
        bound = node.bound
        inside = _graph(bound) if isinstance(bound, Pregel) else identity_of(bound)
        metadata = (node.metadata or {}).get("chainops")
        nodes[name] = {"code": inside, **({"settings": identity_of(metadata)} if metadata else {})}
    return {"graph": graph.name, "nodes": nodes, "edges": _edges(graph)}


def _edges(graph: Any) -> list[list[Any]]:
    """From, to, and whether a condition decides; empty where LangGraph cannot draw the graph."""
    try:
        drawn = graph.get_graph()
    except Exception:  # noqa: BLE001 - drawing is a courtesy of LangGraph; raw Pregel graphs may not have it
        return []
    return sorted([edge.source, edge.target, bool(edge.conditional)] for edge in drawn.edges)


def _layer(layer: Middleware) -> dict[str, Any]:
    own = layer.describe()
    if own is None:
        found = identity_of({name: value for name, value in vars(layer).items() if not name.startswith("_")})
        own = found.get("value", found)
    own = _json(own)
    kind = type(layer)
    return {"name": layer.name, "class": f"{kind.__module__}.{kind.__qualname__}", "settings": own}


def _json(value: Any) -> Any:
    """The JSON that a layer means by tuples, sets, enumerations and paths; what else is no JSON stays as it is."""
    if isinstance(value, Mapping):
        return {key: _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_json(item) for item in value), key=repr)
    if isinstance(value, Enum):
        return _json(value.value)
    return str(value) if isinstance(value, str | PurePath) else value
