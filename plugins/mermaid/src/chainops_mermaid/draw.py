"""Mermaid text of a graph: what it looks like, where the time went, and which ways were taken."""

from __future__ import annotations

from typing import Any

from chainops_mermaid.measure import END, START, Measured, NodeTimes
from chainops_mermaid.shape import Edge, Shape, shape_of_graph, shape_of_trace

__all__ = ["draw", "milliseconds"]

HOT, WARM = 0.5, 0.2  # share of the time of all runs
STYLES = {
    "hot": "fill:#f9c0b0,stroke:#c0392b,color:#000",
    "warm": "fill:#fdebc8,stroke:#d68910,color:#000",
    "cold": "fill:#eef2f5,stroke:#8395a7,color:#000",
    "failed": "stroke:#c0392b,stroke-width:3px,stroke-dasharray:4",
}


def draw(measured: Measured, graph: Any = None, *, direction: str = "TD") -> str:
    """A Mermaid flowchart.

    Args:
        measured: times, see :func:`~chainops_mermaid.measure`.
        graph: the compiled graph; with it all its nodes and edges are drawn, those that never ran dotted. Without it:
            what ran, in the order in which it ran.
        direction: ``TD``, ``LR``, ``BT`` or ``RL``.
    """
    shape = shape_of_trace(measured) if graph is None else shape_of_graph(graph)
    ids = {path: f"n{i}" for i, path in enumerate(shape.nodes)}
    frames = {path for path in shape.nodes if any(other.startswith(path + "/") for other in shape.nodes)}
    lines = [f"flowchart {direction}"]
    _level("", shape, ids, frames, measured, lines, 1)
    lines += [f"  {_arrow(edge, ids, measured)}" for edge in shape.edges if edge.source in ids and edge.target in ids]
    lines += [f"  classDef {name} {style}" for name, style in STYLES.items()]
    for path, id_ in ids.items():
        if path in measured.nodes:
            lines += [f"  class {id_} {name}" for name in _classes(measured.nodes[path], measured.total_ms)]
    return "\n".join(lines) + "\n"


def _level(
    above: str, shape: Shape, ids: dict[str, str], frames: set[str], measured: Measured, lines: list[str], depth: int
) -> None:
    pad = "  " * depth
    for path in shape.nodes:
        if path.rpartition("/")[0] != above:
            continue
        name = path.rpartition("/")[2]
        text = _label(name, measured.nodes.get(path), measured.total_ms)
        if path in frames:
            lines.append(f'{pad}subgraph {ids[path]}["{text}"]')
            _level(path, shape, ids, frames, measured, lines, depth + 1)
            lines.append(f"{pad}end")
        elif name in (START, END):
            lines.append(f'{pad}{ids[path]}(["{name.strip("_")}"])')
        else:
            lines.append(f'{pad}{ids[path]}["{text}"]')


def _label(name: str, times: NodeTimes | None, total_ms: float) -> str:
    if times is None:
        return _escape(name)
    share = f" · {100 * times.total_ms / total_ms:.0f} %" if total_ms else ""
    often = f"{times.calls} × " if times.calls > 1 else ""
    parts = [_escape(name), f"{often}{milliseconds(times.mean_ms)}{share}"]
    if times.tokens:
        parts.append(f"{times.tokens} tokens")
    if times.failed:
        parts.append(f"{times.failed} failed")
    return "<br/>".join(parts)


def milliseconds(value: float) -> str:
    """A time as people say it: "340 µs", "12 ms", "1.20 s"."""
    if value < 1:
        return f"{value * 1000:.0f} µs"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.2f} s"


def _arrow(edge: Edge, ids: dict[str, str], measured: Measured) -> str:
    taken = _taken(edge, measured)
    line = "==>" if taken else "-.->"
    words = [word for word in (edge.label, f"{taken} ×" if taken > 1 else "") if word]
    label = f'|"{_escape(" ".join(words))}"|' if words else ""
    return f"{ids[edge.source]} {line}{label} {ids[edge.target]}"


def _taken(edge: Edge, measured: Measured) -> int:
    """How often. A fixed edge is taken whenever its source ends well, a conditional one as its function said."""
    if edge.kind == "seen":
        return measured.steps[(edge.source, edge.target)]
    if edge.kind == "fixed":
        ends = [
            measured.runs if path in (START, END) else times.calls - times.failed if times else 0
            for path, times in ((path, measured.nodes.get(path)) for path in (edge.source, edge.target))
        ]
        return min(ends) if edge.source == START else ends[0]
    said = {word for source, word in measured.routes if source == edge.source}
    if not said:  # a node that says where to go in its Command
        return measured.steps[(edge.source, edge.target)]
    name = edge.target.rpartition("/")[2]
    return measured.routes[(edge.source, edge.label)] if edge.label else measured.routes[(edge.source, name)]


def _classes(times: NodeTimes, total_ms: float) -> list[str]:
    share = times.total_ms / total_ms if total_ms else 0.0
    heat = "hot" if share >= HOT else "warm" if share >= WARM else "cold"
    return [heat, *(["failed"] if times.failed else [])]


def _escape(text: str) -> str:
    for sign, code in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("\n", " ")):
        text = text.replace(sign, code)
    return text
