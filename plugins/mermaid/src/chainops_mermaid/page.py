"""The page of a trace file: a table of the nodes, and the drawing."""

from __future__ import annotations

from html import escape
from pathlib import Path

from chainops.store.reader import Reader
from chainops_mermaid.draw import draw, milliseconds
from chainops_mermaid.measure import Measured, measure

__all__ = ["page"]


def page(trace: Path, *, direction: str = "TD", runs: int = 100, script: str | None = None) -> str:
    """HTML over the newest ``runs`` runs, one drawing per graph; as text where there is no ``script``."""
    with Reader(trace) as reader:
        graphs: dict[str, list[int]] = {}
        for run in reversed(reader.runs(limit=runs)):
            graphs.setdefault(run.graph, []).append(run.id)
        parts = [_graph(name, measure(map(reader.spans, ids)), direction) for name, ids in graphs.items()]
    load = f'<script src="{escape(script)}"></script><script>mermaid.initialize({{}})</script>' if script else ""
    body = "\n".join(parts) or "<p>There are no runs yet.</p>"
    return f"<!doctype html><meta charset=utf-8><title>{escape(trace.name)}</title>\n{body}\n{load}\n"


def _graph(name: str, measured: Measured, direction: str) -> str:
    heads = "".join(f"<th>{head}</th>" for head in ("node", "calls", "failed", "mean", "total", "tokens"))
    rows = [
        f"<tr><td>{escape(path)}<td>{node.calls}<td>{node.failed}<td>{milliseconds(node.mean_ms)}"
        f"<td>{milliseconds(node.total_ms)}<td>{node.tokens}</tr>"
        for path, node in sorted(measured.nodes.items(), key=lambda item: -item[1].total_ms)
    ]
    drawing = escape(draw(measured, direction=direction))
    return (
        f"<h1>{escape(name)}</h1><p>{measured.runs} runs, {milliseconds(measured.total_ms)}</p>\n"
        f"<table><tr>{heads}</tr>{''.join(rows)}</table>\n<pre class=mermaid>{drawing}</pre>"
    )
