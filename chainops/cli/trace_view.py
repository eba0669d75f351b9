"""How runs and spans look in a terminal."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from chainops.costing.money import amount
from chainops.store.reader import Reader, decode

if TYPE_CHECKING:
    from rich.console import RenderableType

    from chainops.store.reader import RunRow, ScoreRow, SpanRow

__all__ = ["duration", "render_trace", "run_table", "span_line"]

_COLOURS = {
    "ok": "green",
    "open": "cyan",
    "paused": "yellow",
    "error": "red",
    "blocked": "magenta",
    "cancelled": "yellow",
    "interrupted": "yellow",
}


def duration(ms: float | None) -> str:
    """A span of time in the unit that fits: "850 µs", "12.3 ms", "4.1 s", "2 m 05 s"; "…" without an end."""
    if ms is None:
        return "…"
    if ms < 1:
        return f"{ms * 1000:.0f} µs"
    if ms < 1000:
        return f"{ms:.1f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f} s"
    return f"{ms // 60_000:.0f} m {ms % 60_000 / 1000:02.0f} s"


def _when(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9).strftime("%Y-%m-%d %H:%M:%S")


def _status(status: str) -> Text:
    return Text(status, style=_COLOURS.get(status, ""))


def run_table(runs: list[RunRow]) -> Table:
    """The runs, one per line."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("time", "run", "graph", "thread", "status"):
        table.add_column(name, no_wrap=True)
    for name in ("duration", "spans", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    some_error = any(run.first_error for run in runs)
    if some_error:
        table.add_column("error")
    ids = short_ids(runs)
    for run in runs:
        tokens = f"{run.tokens_in}+{run.tokens_out}" if run.tokens_in or run.tokens_out else ""
        table.add_row(
            _when(run.start_ns),
            Text(ids[run.run_id]),
            Text(run.graph),
            Text(run.thread or ""),
            _status(run.status),
            duration(run.duration_ms),
            str(run.spans),
            tokens,
            *([Text(run.first_error or "", style="red")] if some_error else []),
        )
    return table


def short_ids(runs: list[RunRow]) -> dict[str, str]:
    """Beginnings of the ids that tell these runs apart: at least 12 characters, in whole steps of 4.

    The first characters of a UUIDv7 are its time: runs of one minute share 8, runs of 16 milliseconds share 12.
    """
    ids = [run.run_id for run in runs]
    length = 12
    while length < 36 and len({i[:length] for i in ids}) < len(set(ids)):
        length += 4
    return {i: i[:length].rstrip("-") for i in ids}


def span_line(span: SpanRow) -> Text:
    """One span as one line: kind, name, status, duration, tokens, time to the first token, error."""
    line = Text()
    line.append(f"{span.kind} ", style="dim")
    line.append(span.name, style="bold")
    if span.kind == "model" and span.model and span.model != span.name:
        line.append(f" ({span.model})", style="dim")
    if span.attempt > 1:
        line.append(f" attempt {span.attempt}", style="yellow")
    line.append("  ")
    line.append(duration(span.duration_ms))
    if span.status != "ok":
        line.append("  ")
        line.append_text(_status(span.status))
    if span.tokens_in is not None or span.tokens_out is not None:
        cached = f" ({span.tokens_cached} cached)" if span.tokens_cached else ""
        line.append(f"  {span.tokens_in or 0}{cached} → {span.tokens_out or 0} tokens", style="cyan")
    if span.first_token_ns is not None:
        line.append(f"  first after {duration(span.first_token_ns / 1e6)}", style="cyan")
    attributes = decode(span.attributes) or {}
    if isinstance(cost := attributes.get("cost"), dict) and isinstance(cost.get("micro"), int):
        line.append(f"  {amount(cost['micro'], str(cost.get('currency', '')))}", style="cyan")
    if off := attributes.get("off"):
        line.append(f"  off: {', '.join(off)}", style="magenta")
    if span.error_type:
        message = (span.error_message or "").strip().splitlines()
        line.append(f"  {span.error_type}: {message[0] if message else ''}", style="red")
    return line


def render_trace(run_id: str, db: str | Path) -> RenderableType:
    """The tree of a run, ready for ``rich.print``: ``run_id`` is the beginning of an id, or "last".

    Raises:
        StoreError: the file cannot be read, or no single run has such an id.
    """
    with Reader(db) as reader:
        run = reader.find_run(run_id)
        return trace_tree(run, reader.spans(run.id), reader.scores(run.id))


def trace_tree(run: RunRow, spans: list[SpanRow], scores: list[ScoreRow], *, content: bool = False) -> RenderableType:
    """The spans of a run as a tree under one line about the run."""
    head = Text.assemble((f"{run.graph or 'run'} ", "bold"), _status(run.status), f"  {duration(run.duration_ms)}")
    head.append(f"  {run.spans} spans")
    if run.tokens_in or run.tokens_out:
        head.append(f"  {run.tokens_in} → {run.tokens_out} tokens", style="cyan")
    about = Text(f"run {run.run_id}  {_when(run.start_ns)}", style="dim")
    if run.thread:
        about.append(f"  thread {run.thread}")
    tree = Tree(head, guide_style="dim")
    known = {span.id for span in spans}
    children: dict[int | None, list[SpanRow]] = {}
    for span in spans:
        children.setdefault(span.parent if span.parent in known else None, []).append(span)
    judged: dict[int, list[ScoreRow]] = {}
    for score in scores:
        judged.setdefault(score.span, []).append(score)
    todo = [(tree, span) for span in reversed(children.get(None, []))]
    while todo:
        branch, span = todo.pop()
        line, said = span_line(span), judged.get(span.id, [])
        if span.kind == "step" and len(said) == 1:  # a rail's verdict: one line, not two
            line.append_text(_verdict(span, said.pop()))
        here = branch.add(line)
        _add_details(here, span, said, content)
        todo += [(here, child) for child in reversed(children.get(span.id, []))]
    return Group(about, tree)


def _verdict(span: SpanRow, score: ScoreRow) -> Text:
    value = score.label if score.value is None else f"{score.value:g}"
    if (decode(span.attributes) or {}).get("remembered"):
        value = f"{value}, remembered"
    return Text(f"  {value}  {score.comment}".rstrip(), style="blue")


def _add_details(branch: Tree, span: SpanRow, scores: list[ScoreRow], content: bool) -> None:
    if span.error_hint:
        branch.add(Text(f"hint: {span.error_hint}", style="yellow"))
    for score in scores:
        value = score.label if score.value is None else f"{score.value:g}"
        branch.add(Text(f"score {score.name} = {value} ({score.source}) {score.comment}".rstrip(), style="blue"))
    if content:
        for name, text, size in (("in", span.input, span.input_bytes), ("out", span.output, span.output_bytes)):
            if text is not None:
                cut = f" … ({size} bytes)" if len(text) > 500 else ""
                branch.add(Text(f"{name}: {text[:500]}{cut}", style="dim"))
