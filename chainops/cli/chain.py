"""``chainops chain``: versions of whole chains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from chainops.cli.options import DEFAULT_DB, Json, Who
from chainops.cli.trace_io import print_json, print_rich

app = typer.Typer(no_args_is_help=True, help="Versions of whole chains: what answered, and what changed since.")

Db = Annotated[Path, typer.Option("--db", envvar="CHAINOPS_TRACE__PATH", help="The file with the versions.")]
Application = Annotated[
    str, typer.Argument(metavar="FOLDER|MODULE:NAME", help="A folder with an app.py, or module:name of a graph.")
]


@app.command()
def freeze(
    folder: Application,
    db: Db = DEFAULT_DB,
    label: Annotated[str | None, typer.Option("--label", help="Also let this label point to it.")] = None,
    message: Annotated[str, typer.Option("--message", "-m", help="What it is.")] = "",
    author: Who = None,
    as_json: Json = False,
) -> None:
    """Store what an application's chain is made of now as a version."""
    import asyncio

    from chainops.cli.loading import load_graph
    from chainops.cli.prompt_io import user, version_line, version_row
    from chainops.middleware.chain.middleware import KIND, chain_name, content_of
    from chainops.store.artifacts import Artifacts

    graph = load_graph(folder)

    async def in_force() -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for layer in graph.chainops_pipeline.middleware:
            merged.update(await layer.in_force())
        return merged

    content = content_of(graph.chainops_chain(), asyncio.run(in_force()))
    store = Artifacts(db)
    who = user(author)
    version, new = store.add(KIND, chain_name(content["graph"]), content, author=who, message=message)
    if label:
        store.move(KIND, version.name, label, version.version, who=who, why=message)
    if as_json:
        print_json({**version_row(version), "new": new})
    else:
        typer.echo(version_line(version) + ("" if new else " (was there already)"))


@app.command("list")
def list_chains(db: Db = DEFAULT_DB, as_json: Json = False) -> None:
    """Every version of every chain, newest first, with its labels."""
    from datetime import datetime

    from rich.table import Table
    from rich.text import Text

    from chainops.cli.prompt_io import version_row

    rows = []
    for name, entry in sorted(_look(db).entries.items()):
        for number, version in sorted(entry.versions.items(), reverse=True):
            labels = sorted(label for label, to in entry.labels.items() if to == number)
            rows.append({**version_row(version), "labels": labels, "name": name})
    if as_json:
        print_json(rows)
        return
    if not rows:
        typer.echo("There is no chain yet. hint: put Chain() into a pipeline, or chainops chain freeze APP", err=True)
        return
    table = Table(box=None, pad_edge=False)
    for head in ("chain", "hash", "first seen", "labels", "message"):
        table.add_column(head)
    for row in rows:
        when = datetime.fromtimestamp(row["created_ns"] / 1e9).strftime("%Y-%m-%d %H:%M:%S")
        cells = (f"{row['name']}@{row['version']}", row["sha256"][:12], when, " ".join(row["labels"]), row["message"])
        table.add_row(*map(Text, cells))
    print_rich(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="NAME, NAME@VERSION or NAME@LABEL; or the id of a run, or last.")],
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """What a version of a chain is made of."""
    title, content = _chain(db, name)
    if as_json:
        print_json({"chain": title, "content": content})
        return
    typer.echo(title)
    for node in sorted(content.get("nodes", {})):
        typer.echo(f"  node {node}")
    for a, b, conditional in content.get("edges", []):
        typer.echo(f"  edge {a} → {b}{' (conditional)' if conditional else ''}")
    for layer in content.get("layers", []):
        typer.echo(f"  layer {layer['name']} ({layer['class']})")
    for kind, found in content.get("versions", {}).items():
        for label, number in found.items():
            typer.echo(f"  {kind} {label}: version {number}")


@app.command()
def diff(
    old: Annotated[str, typer.Argument(help="NAME@VERSION, NAME@LABEL, or the id of a run.")],
    new: Annotated[str, typer.Argument(help="The same; without it the newest version.")] = "",
    db: Db = DEFAULT_DB,
    check: Annotated[bool, typer.Option("--check", help="Exit code 1 when something changed.")] = False,
    as_json: Json = False,
) -> None:
    """Say in words what changed between two versions, or between the chains of two answers."""
    from chainops.middleware.chain.difference import differences

    before, was = _chain(db, old)
    after, now = _chain(db, new or before.partition("@")[0])
    lines = differences(was, now)
    if as_json:
        print_json({"old": before, "new": after, "changes": lines})
    else:
        for line in lines:
            typer.echo(line)
        typer.echo(
            f"{before} → {after}: {len(lines)} changes" if lines else f"{before} and {after} are the same", err=True
        )
    if check and lines:
        raise typer.Exit(1)


@app.command()
def reproduce(
    run: Annotated[str, typer.Argument(help="The id of a run, its beginning, or last.")],
    application: Annotated[str, typer.Option("--app", metavar="APP", help="The folder of its app, or module:name.")],
    db: Db = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Run a stored run again on the versions that it ran on. Exit code 1 when something else comes out."""
    import asyncio
    from dataclasses import asdict

    from chainops.cli.loading import load_graph
    from chainops.middleware.chain.reproduce import chain_of_run
    from chainops.middleware.chain.reproduce import reproduce as again

    chain_of_run(db, run)
    found = asyncio.run(again(db, run, load_graph(application)))
    if as_json:
        print_json(asdict(found))
    else:
        for line in [*(f"changed since: {c}" for c in found.changed), *(f"note: {n}" for n in found.notes)]:
            typer.echo(line, err=True)
        typer.echo(f"run {found.run_id} on {found.chain}: {'the same' if found.same else 'something else comes out'}")
        if not found.same:
            _compare(found.recorded, found.now)
    if not found.same:
        raise typer.Exit(1)


@app.command()
def unpin(
    name: Annotated[str, typer.Argument(help="The graph.")],
    thread: Annotated[str, typer.Argument(help="The thread.")],
    db: Db = DEFAULT_DB,
) -> None:
    """Let a pinned thread go on with what holds now. Exit code 1 when it is not pinned."""
    from chainops.middleware.chain.middleware import chain_name
    from chainops.store.pins import unpin_thread

    _look(db)
    if not unpin_thread(db, chain_name(name), thread):
        typer.echo(f"thread {thread} of {name} is not pinned", err=True)
        raise typer.Exit(1)
    typer.echo(f"thread {thread} of {name} goes on with what holds now")


def _look(db: Path) -> Any:
    from chainops.middleware.chain.middleware import KIND
    from chainops.store.registry import Registry

    return Registry(db, KIND).look()


def _chain(db: Path, name: str) -> tuple[str, dict[str, Any]]:
    """Title and content of the version that NAME@REF, or a run, means."""
    from chainops.cli.prompt_io import split_ref
    from chainops.middleware.chain.reproduce import chain_of_run

    view = _look(db)
    plain, ref = split_ref(name)
    if "@" in name or plain in view.entries:
        version = view.resolve(plain, ref)
        return f"{version.name}@{version.version}", version.value()
    _, _, chain, number, content = chain_of_run(db, name)
    return f"{chain}@{number}", content


def _compare(recorded: Any, now: Any) -> None:
    import difflib

    import orjson

    was, came = (
        orjson.dumps(side, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode().splitlines()
        for side in (recorded, now)
    )
    for line in difflib.unified_diff(was, came, "recorded", "now", lineterm="", n=1):
        typer.echo(line)
