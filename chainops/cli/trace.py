"""``chainops trace``: look at recorded runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chainops.cli.options import DEFAULT_DB, Db, Json
from chainops.cli.trace_io import otlp_target, output_file, picture, print_json, print_rich, progress, size_in_bytes

if TYPE_CHECKING:
    from rich.console import RenderableType

    from chainops.store.export import ExportReport
    from chainops.store.reader import Reader

__all__ = ["render_trace"]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Look at recorded runs.")


def render_trace(run_id: str, db: str | Path) -> RenderableType:
    """The tree of a run, ready for ``rich.print``; "last" is the newest run."""
    from chainops.cli import trace_view

    return trace_view.render_trace(run_id, db)


@app.command("list")
def list_runs(
    db: Db = DEFAULT_DB,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Show so many runs.")] = 20,
    graph: Annotated[str | None, typer.Option(help="Only runs of this graph.")] = None,
    thread: Annotated[str | None, typer.Option(help="Only runs of this thread.")] = None,
    status: Annotated[str | None, typer.Option(help="Only runs with this status, for example error.")] = None,
    as_json: Json = False,
) -> None:
    """The newest runs."""
    from chainops.cli.trace_view import run_table
    from chainops.store.maintain import settle
    from chainops.store.reader import Reader

    settle(db)
    with Reader(db) as reader:
        reader.find_run("last")  # an empty file is said to be empty, not shown as an empty table
        runs = reader.runs(limit=limit, graph=graph, thread=thread, status=status)
        _warn_of_drops(reader)
    if as_json:
        print_json([run.to_json() for run in runs])
    elif runs:
        print_rich(run_table(runs))
    else:
        typer.echo("No run matches.", err=True)


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="The beginning of a run's id, or: last")] = "last",
    db: Db = DEFAULT_DB,
    content: Annotated[bool, typer.Option("--content", "-c", help="Show inputs and outputs.")] = False,
    svg: Annotated[str | None, typer.Option(metavar="FILE|-", help="The tree as a picture, for a page.")] = None,
    as_json: Json = False,
) -> None:
    """One run as a tree: durations, tokens, first token, errors, scores."""
    from chainops.cli.trace_view import trace_tree
    from chainops.store.maintain import settle
    from chainops.store.reader import Reader

    settle(db)
    with Reader(db) as reader:
        row = reader.find_run(run)
        spans, scores = reader.spans(row.id), reader.scores(row.id)
        _warn_of_drops(reader)
    if as_json:
        print_json(
            {**row.to_json(), "tree": [s.to_json() for s in spans], "scores": [score.to_json() for score in scores]}
        )
    elif svg is not None:
        with output_file(svg) as out:
            out.write(picture(trace_tree(row, spans, scores, content=content), f"chainops trace show {row.graph}"))
    else:
        print_rich(trace_tree(row, spans, scores, content=content))


@app.command()
def tail(
    db: Db = DEFAULT_DB,
    seconds: Annotated[float | None, typer.Option("--for", min=0, help="Stop after so many seconds.")] = None,
    from_start: Annotated[bool, typer.Option("--from-start", help="Begin with the spans of the newest runs.")] = False,
    as_json: Json = False,
) -> None:
    """Follow the file: a line when a span ends, and when one runs for more than a quarter of a second. Stop: Ctrl-C."""
    import time

    deadline = None if seconds is None else time.monotonic() + seconds
    try:
        with _opened_in_time(db, deadline) as reader:
            _follow(reader, deadline, from_start, as_json)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@contextmanager
def _opened_in_time(db: Path, deadline: float | None) -> Iterator[Reader]:
    """The file may be made by a process that starts later: wait for it, and say so."""
    import time

    from chainops.errors import StoreError
    from chainops.store.reader import Reader

    said = False
    while True:
        try:
            reader = Reader(db)
            break
        except StoreError as error:
            late = deadline is not None and time.monotonic() >= deadline
            if error.code not in ("store.missing", "store.empty") or late:
                raise
            if not said:
                typer.echo(f"Waiting for {db} ...", err=True)
                said = True
            time.sleep(0.1)
    with reader:
        yield reader


def _follow(reader: Reader, deadline: float | None, from_start: bool, as_json: bool) -> None:
    import time

    from rich.console import Console
    from rich.text import Text

    from chainops.cli.trace_view import span_line
    from chainops.store.tail import Tail

    console = Console(soft_wrap=True)
    follower = Tail(reader, from_start=from_start)
    while True:
        for run, span in follower.poll():
            if as_json:
                print_json({"run_id": run.run_id, "graph": run.graph, "thread": run.thread, **span.to_json()})
            else:
                console.print(Text(f"{run.run_id[-6:]} {span.path or run.graph}  ", style="dim") + span_line(span))
        if deadline is not None and time.monotonic() >= deadline:
            return
        time.sleep(0.2 if deadline is None else max(0.0, min(0.2, deadline - time.monotonic())))


@app.command()
def search(
    query: Annotated[str, typer.Argument(help='Words, "phrases" and beginnings*: all must occur.')],
    db: Db = DEFAULT_DB,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Show so many spans.")] = 20,
    as_json: Json = False,
) -> None:
    """Spans whose name, input, output or error contains all words, newest first."""
    from rich.text import Text

    from chainops.cli.trace_view import span_line
    from chainops.store.maintain import settle
    from chainops.store.reader import Reader
    from chainops.store.search import index_pending, terms_of
    from chainops.store.search import search as find

    terms_of(query)
    settle(db)
    with progress("Indexing runs") as step:
        index_pending(db, progress=step)
    with Reader(db) as reader:
        hits = find(reader, query, limit=limit)
    if as_json:
        print_json([{"run_id": h.run.run_id, "snippet": h.snippet, **h.span.to_json()} for h in hits])
        return
    if not hits:
        typer.echo("Nothing found.", err=True)
    for hit in hits:
        print_rich(Text(f"{hit.run.run_id}  ", style="dim") + span_line(hit.span))
        print_rich(Text(f"    {hit.snippet}"))


@app.command()
def export(
    run: Annotated[str | None, typer.Argument(help="One run only: the beginning of its id, or: last")] = None,
    otlp: Annotated[str | None, typer.Option(metavar="FILE|URL", help="OTLP as JSON, to a file or collector.")] = None,
    jsonl: Annotated[str | None, typer.Option(metavar="FILE|-", help="JSON Lines, one span per line.")] = None,
    form: Annotated[
        str | None, typer.Option("--as", metavar="FORM", help="For langsmith, langfuse, phoenix or mlflow; with --out.")
    ] = None,
    out: Annotated[str | None, typer.Option("--out", metavar="FILE|-", help="Where --as writes.")] = None,
    db: Db = DEFAULT_DB,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Only the newest so many runs.")] = None,
    no_content: Annotated[bool, typer.Option("--no-content", help="Leave inputs and outputs out.")] = False,
    header: Annotated[list[str] | None, typer.Option(help='For a collector: "name: value"; again for more.')] = None,
    service: Annotated[str, typer.Option(help="The service.name of the OTLP resource.")] = "chainops",
    as_json: Json = False,
) -> None:
    """Traces for other tools, in the words of OpenTelemetry GenAI and OpenInference."""
    from chainops.errors import SetupError
    from chainops.store.export import chosen_runs, export_jsonl, export_otlp
    from chainops.store.maintain import settle
    from chainops.store.reader import Reader

    if sum(target is not None for target in (otlp, jsonl, form)) != 1 or (form is None) != (out is None):
        hint = "Give one of --otlp TARGET, --jsonl FILE, or --as FORM --out FILE."
        raise SetupError("Where should it go?", hint=hint, code="setup.export")
    settle(db)
    with Reader(db) as reader, progress("Exporting runs") as step:
        reader.find_run(run or "last")
        runs = chosen_runs(reader, run=run, limit=limit)
        content = not no_content
        if form is not None:
            from chainops.store.exchange import export_as

            with output_file(out or "") as file:
                report = export_as(form, reader, runs, file, content=content, progress=step)
        elif jsonl is not None:
            with output_file(jsonl) as file:
                report = export_jsonl(reader, runs, file, content=content, progress=step)
        else:
            with otlp_target(otlp or "", header or []) as send:
                report = export_otlp(reader, runs, send, content=content, service=service, progress=step)
    _say_exported(report, as_json=as_json and "-" not in (jsonl, out))


def _say_exported(report: ExportReport, *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print_json(asdict(report))
        return
    notes = f"; {report.rejected} rejected" if report.rejected else ""
    typer.echo(f"{report.spans} spans of {report.runs} runs exported; {report.open} are still open{notes}", err=True)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="JSON, or JSON Lines, as another system exports it.")],
    form: Annotated[
        str | None, typer.Option("--from", metavar="FORM", help="langsmith, langfuse, phoenix or mlflow; else told.")
    ] = None,
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Store runs of LangSmith, Langfuse, Phoenix or MLflow. Runs that the file has already are left alone."""
    from dataclasses import asdict

    from chainops.store.exchange import import_traces

    with progress("Importing runs") as step:
        report = import_traces(file, db, form=form, progress=step)
    if as_json:
        print_json(asdict(report))
        return
    notes = f"; {report.known} were there already" if report.known else ""
    typer.echo(f"{report.form}: {report.runs} runs with {report.spans} spans and {report.scores} scores{notes}")


@app.command()
def prune(
    db: Db = DEFAULT_DB,
    days: Annotated[float | None, typer.Option(min=0, help="Delete runs that began more days ago.")] = None,
    max_bytes: Annotated[
        str | None, typer.Option("--bytes", metavar="SIZE", help="Then the oldest, until so much is left: 500M, 2G.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    as_json: Json = False,
) -> None:
    """Delete old runs, and give their room back to the disk. Open runs stay."""
    from dataclasses import asdict

    from chainops.store.retention import prune as delete

    size = None if max_bytes is None else size_in_bytes(max_bytes)
    with progress("Deleting runs") as step:
        report = delete(db, days=days, max_bytes=size, dry_run=dry_run, progress=step)
    if as_json:
        print_json(asdict(report))
        return
    verb, about = ("would be deleted", "about ") if dry_run else ("deleted", "")
    typer.echo(
        f"{report.runs} runs with {report.spans} spans {verb}; "
        f"{report.bytes_before:,} bytes before, {about}{report.bytes_after:,} after"
    )


def _warn_of_drops(reader: Reader) -> None:
    if dropped := reader.dropped():
        typer.echo(f"warning: {dropped} spans could not be stored when they happened", err=True)
