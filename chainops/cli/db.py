"""``chainops db``: create, check, back up and compact the trace file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from chainops.cli.options import DEFAULT_DB, Db, Json

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Create, check, back up and compact the trace file.")


@app.command()
def upgrade(db: Db = DEFAULT_DB, as_json: Json = False) -> None:
    """Make the file, or bring it to this version's schema; wholly or not at all."""
    from chainops.store.migrate import upgrade as migrate

    before, after = migrate(db)
    if as_json:
        _print_json({"db": str(db), "from": before, "to": after})
    elif before == after:
        typer.echo(f"{db} has schema {after} already")
    else:
        typer.echo(f"{db}: schema {before} → {after}")


@app.command()
def check(db: Db = DEFAULT_DB, as_json: Json = False) -> None:
    """Read the whole file. Exit code 1 when something in it is damaged."""
    from dataclasses import asdict

    from chainops.store.maintain import check as examine

    report = examine(db)
    if as_json:
        _print_json(asdict(report))
    else:
        for problem in report.problems:
            typer.echo(problem)
        state = "damaged" if report.problems else "ok"
        typer.echo(
            f"{db}: {state}, schema {report.version}, {report.runs} runs, {report.spans} spans, "
            f"{report.dropped} dropped, {report.bytes:,} bytes"
        )
    if report.problems:
        typer.echo("hint: restore a backup (chainops db backup makes them)", err=True)
        raise typer.Exit(1)


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="The copy.")],
    db: Db = DEFAULT_DB,
    force: Annotated[bool, typer.Option("--force", help="Replace a copy that exists.")] = False,
    as_json: Json = False,
) -> None:
    """Copy the file, also while something writes into it."""
    from chainops.store.maintain import backup as copy

    size = copy(db, target, force=force)
    if as_json:
        _print_json({"db": str(db), "backup": str(target), "bytes": size})
    else:
        typer.echo(f"{target}: {size:,} bytes")


@app.command()
def vacuum(db: Db = DEFAULT_DB, as_json: Json = False) -> None:
    """Give unused room back to the disk. Needs free disk for a second copy meanwhile."""
    from chainops.store.maintain import vacuum as compact

    before, after = compact(db)
    if as_json:
        _print_json({"db": str(db), "bytes_before": before, "bytes_after": after})
    else:
        typer.echo(f"{db}: {before:,} → {after:,} bytes")


def _print_json(value: Any) -> None:
    import orjson

    typer.echo(orjson.dumps(value).decode())
