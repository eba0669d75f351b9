"""``chainops run``: an application from its folder, as a program or as a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
def run(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER|MODULE:NAME", help="A folder with an app.py, or module:name of a graph.")
    ],
    input: Annotated[
        str | None, typer.Argument(metavar="INPUT", help="One input as JSON; without it every line of stdin is one.")
    ] = None,
    message: Annotated[str, typer.Option("--message", "-m", help="A question, for graphs on messages.")] = "",
    thread: Annotated[str | None, typer.Option("--thread", help="The thread of inputs that name none.")] = None,
    grace: Annotated[float, typer.Option("--grace", help="Seconds to finish what runs after SIGTERM.")] = 25.0,
) -> None:
    """Run an application, one JSON object per input and line. Exit code 2 when the one input fails.

    SIGTERM and Ctrl-C: no further line is taken, what runs is finished and written, then the process ends.
    """
    import asyncio

    from chainops.cli.loading import load_graph
    from chainops.errors import SetupError
    from chainops.ops.resources import limit
    from chainops.ops.worker import Worker, lines_of_stdin
    from chainops.settings import load_settings

    if input is not None and message:
        raise SetupError("Give INPUT or --message, not both", hint="Leave one out.", code="setup.option")
    file = Path(folder) / "chainops.toml"
    settings = load_settings(file if file.is_file() else None)
    limit(settings.resources)
    _say_what_was_interrupted(settings)
    graph = load_graph(folder)
    if message:
        lines: Any = [_json({"messages": [["user", message]]})]
    else:
        lines = lines_of_stdin() if input is None else [input.encode()]
    worker = Worker(graph, _print, grace_s=grace)
    try:
        asyncio.run(_all(worker, lines, thread, graph))
    finally:
        _close(graph)
    _end(worker, one=input is not None or bool(message))


async def _all(worker: Any, lines: Any, thread: str | None, graph: Any) -> None:
    import os
    import sys

    await worker.work(lines, thread=thread)
    if worker.stuck:  # its thread would keep the process from ending
        _close(graph)
        typer.echo("A run did not stop when it was cancelled; the process ends without it", err=True)
        sys.stdout.flush()
        os._exit(_code(worker))


def _end(worker: Any, *, one: bool) -> None:
    if worker.signal is not None:
        left = f", {worker.cancelled} cancelled" if worker.cancelled else ""
        typer.echo(f"Stopped by {worker.signal.name}: what ran is finished and written{left}", err=True)
        raise typer.Exit(_code(worker))
    if one and worker.failed:
        raise typer.Exit(2)


def _code(worker: Any) -> int:
    return 130 if worker.signal is not None and worker.signal.name == "SIGINT" else 0


def _say_what_was_interrupted(settings: Any) -> None:
    """Runs of processes that died: marked in the file, and named, so that somebody can send them again."""
    from chainops.store.maintain import settle

    if not settings.trace.path.is_file():
        return
    for run in settle(settings.trace.path):
        thread = f", thread {run.thread}" if run.thread else ""
        typer.echo(f"interrupted: run {run.run_id} of {run.graph}{thread}: process {run.pid} died", err=True)


def _close(graph: Any) -> None:
    for layer in reversed(graph.chainops_pipeline.middleware):
        if callable(close := getattr(layer, "close", None)):
            close()


def _print(answer: dict[str, Any]) -> None:
    import sys

    sys.stdout.buffer.write(_json(answer) + b"\n")
    sys.stdout.flush()


def _json(value: Any) -> bytes:
    import orjson

    return orjson.dumps(value)
