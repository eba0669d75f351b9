"""Which nodes and edges a drawing has: those of a compiled graph, or those that a trace shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from chainops_mermaid.measure import END, START, Measured

__all__ = ["Edge", "Shape", "shape_of_graph", "shape_of_trace"]


@dataclass(frozen=True, slots=True)
class Edge:
    """An arrow between two paths: of the graph, ``fixed`` or ``conditional``, or ``seen`` in a trace.

    ``label``: what its function says where that is not the name of the target.
    """

    source: str
    target: str
    kind: Literal["fixed", "conditional", "seen"] = "seen"
    label: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """Paths of the nodes in their order, and the edges."""

    nodes: tuple[str, ...]
    edges: tuple[Edge, ...]


def shape_of_graph(graph: Any) -> Shape:
    """Nodes and edges of a compiled graph and of its subgraphs, instrumented or not."""
    nodes: dict[str, None] = {}
    edges: list[Edge] = []
    for above, level in _levels(graph):
        drawn = level.get_graph()
        for name in drawn.nodes:
            if name not in (START, END) or not above:
                nodes[f"{above}{name}"] = None
        for edge in drawn.edges:
            ends = (edge.source, edge.target)
            if above and (START in ends or END in ends):
                continue  # the frame around a subgraph shows where it begins and ends
            label = str(edge.data) if edge.data not in (None, edge.target) else ""
            kind: Literal["fixed", "conditional"] = "conditional" if edge.conditional else "fixed"
            edges.append(Edge(f"{above}{edge.source}", f"{above}{edge.target}", kind, label))
    return Shape(tuple(nodes), tuple(edges))


def shape_of_trace(measured: Measured) -> Shape:
    """Nodes that ran, and an edge where one ran after another."""
    edges = [Edge(source, target) for source, target in measured.steps if _shown(source) and _shown(target)]
    ends = [name for name in (START, END) if any(name in (edge.source, edge.target) for edge in edges)]
    return Shape((*ends[:1], *measured.nodes, *ends[1:]), tuple(edges))


def _shown(path: str) -> bool:
    return path.rpartition("/")[2] not in (START, END) or "/" not in path


def _levels(graph: Any) -> Iterator[tuple[str, Any]]:
    yield "", graph
    for place, inner in graph.get_subgraphs(recurse=True):
        yield "/".join(place.split("|")) + "/", inner
