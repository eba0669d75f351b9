"""``chainops cache``: what the cache did, what is in it, and how to make it forget."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from chainops.cli.cache_semantic import DEFAULT_DIR, Dir, calibrate, semantic_file, semantic_lines
from chainops.cli.options import Json
from chainops.cli.trace_io import print_json, print_rich

app = typer.Typer(no_args_is_help=True, help="Cached answers: stats, show, explain, invalidate, clear.")


app.command()(calibrate)


@app.command()
def stats(directory: Dir = DEFAULT_DIR, as_json: Json = False) -> None:
    """Hit ratio, what was saved, and hits and misses by hour."""
    from chainops.cli.cache_io import opened, stats_view
    from chainops.store.cache.explain import stats as figures

    with semantic_file(directory) as meanings:
        semantic = meanings.figures() if meanings is not None else None
    found: dict[str, Any] = {}
    if semantic is None or (directory / "cache.db").is_file():
        with opened(directory) as store:
            found = figures(store)
    if as_json:
        print_json({**found, "semantic": semantic})
        return
    if found:
        print_rich(stats_view(found))
    if semantic is not None:
        typer.echo("\n".join(semantic_lines(semantic)))


@app.command()
def show(
    key: Annotated[str, typer.Argument(help="A key, or how it begins; without one: all entries, newest first.")] = "",
    directory: Dir = DEFAULT_DIR,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many entries.")] = 20,
    as_json: Json = False,
) -> None:
    """The entries; or one of them, with its answer."""
    from chainops.cli.cache_io import entry_rows, entry_table, opened
    from chainops.store.cache.explain import find, rows

    with opened(directory) as store:
        if key:
            print_json(find(store, key))
            return
        found = entry_rows(rows(store, limit=limit))
    if as_json:
        print_json(found)
    elif found:
        print_rich(entry_table(found))
    else:
        typer.echo("The cache is empty.", err=True)


@app.command()
def explain(
    key: Annotated[
        str, typer.Argument(help="A key, or its beginning; without one: the calls that were not kept.")
    ] = "",
    directory: Dir = DEFAULT_DIR,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Without KEY: at most so many calls.")] = 20,
    as_json: Json = False,
) -> None:
    """Why a call was kept or not, and which part of its key differs from the nearest entry."""
    from chainops.cli.cache_io import explain_lines, opened, refusal_table
    from chainops.store.cache.explain import explain as look
    from chainops.store.cache.explain import refusals

    with opened(directory) as store:
        if not key:
            rows = refusals(store, limit)
            print_json(rows) if as_json else print_rich(refusal_table(rows))
            return
        found = look(store, key)
    print_json(found) if as_json else typer.echo("\n".join(explain_lines(found)))


@app.command()
def invalidate(
    tags: Annotated[list[str], typer.Argument(help="Tags, for example prompt:answer, model:tiny or document:faq.md.")],
    directory: Dir = DEFAULT_DIR,
    as_json: Json = False,
) -> None:
    """Forget all answers that have one of the tags, in every process that uses the directory."""
    from chainops.cli.cache_io import opened

    gone = 0
    with semantic_file(directory) as meanings:
        gone += meanings.invalidate(tags) if meanings is not None else 0
    if meanings is None or (directory / "cache.db").is_file():
        with opened(directory) as store:
            gone += store.invalidate(tags)
    print_json({"tags": tags, "entries": gone}) if as_json else typer.echo(f"{gone} entries forgotten")


@app.command()
def clear(directory: Dir = DEFAULT_DIR, as_json: Json = False) -> None:
    """Forget all answers. What was counted stays."""
    from chainops.cli.cache_io import opened
    from chainops.store.cache.protocol import EVERYTHING

    gone = 0
    with semantic_file(directory) as meanings:
        gone += meanings.clear() if meanings is not None else 0
    if meanings is None or (directory / "cache.db").is_file():
        with opened(directory) as store:
            gone += store.invalidate([EVERYTHING])
    print_json({"entries": gone}) if as_json else typer.echo(f"{gone} entries forgotten")
