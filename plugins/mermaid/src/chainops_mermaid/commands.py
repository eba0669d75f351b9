"""``chainops mermaid draw``: the graph of a run, or of many, as Mermaid text on stdout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Draw graphs as Mermaid, with the times of a trace.")


@app.callback()
def _group() -> None:
    """Keeps ``draw`` a command of its own."""


@app.command("draw")
def draw_run(
    run: Annotated[str | None, typer.Argument(help="The beginning of a run's id, or: last. Else the newest.")] = None,
    runs: Annotated[int, typer.Option("--runs", "-n", min=1, help="So many of the newest runs of that graph.")] = 1,
    app_: Annotated[
        str | None,
        typer.Option("--app", metavar="FOLDER|MODULE:NAME", help="Also draw what never ran, from the graph."),
    ] = None,
    db: Annotated[Path | None, typer.Option("--db", help="The trace file; else that of the settings.")] = None,
) -> None:
    """Draw the graph of a run: nodes with their times and tokens, edges as they were taken."""
    from chainops.cli.loading import load_graph
    from chainops.settings import load_settings
    from chainops.store.reader import Reader
    from chainops_mermaid import draw, measure, plugin

    settings = load_settings()
    options = plugin.check_options(settings.plugins.get("mermaid", {}))
    with Reader(db or settings.trace.path) as reader:
        first = reader.find_run(run or "last")
        others = reader.runs(limit=runs, graph=first.graph) if runs > 1 else []
        ids = {first.id, *(each.id for each in others)}
        measured = measure(map(reader.spans, sorted(ids)))
    graph = None if app_ is None else load_graph(app_)
    typer.echo(draw(measured, graph, direction=options.direction), nl=False)
