"""``chainops settings``: which settings are in force, whether they are right, and what there is to set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from chainops.cli.options import Json
from chainops.cli.trace_io import print_json, print_rich

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Settings: show, check, schema.")

File = Annotated[
    Path | None, typer.Option("--file", "-f", help="The settings file; else chainops.toml of the working directory.")
]


@app.command()
def show(
    file: File = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only what differs from the defaults.")] = False,
    as_json: Json = False,
) -> None:
    """Every setting in force and where it comes from; texts that are named like secrets are masked."""
    from dataclasses import asdict

    from chainops.settings.explain import effective

    rows = [row for row in effective(file) if not changed or row.source != "default"]
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table("setting", "value", "from", box=None)
    for row in rows:
        table.add_row(*map(escape, (row.key, _as_toml(row.value), row.source)))
    print_rich(table)


@app.command()
def check(file: File = None, as_json: Json = False) -> None:
    """Load the settings and build their pipeline, as an application would. Exit code 1 when something is wrong."""
    from chainops.app import App
    from chainops.errors import ChainopsError

    try:
        with App(file) as app:
            layers = [layer.name for layer in app.pipeline.middleware]
    except ChainopsError as error:
        if as_json:
            print_json({"ok": False, "code": error.code, "message": error.message, "hint": error.hint})
        else:
            typer.echo(f"{file or 'chainops.toml'}: {error}")
        raise typer.Exit(1) from None
    if as_json:
        print_json({"ok": True, "middleware": layers})
    else:
        typer.echo(f"ok: {' → '.join(layers) or 'no layers'}")


@app.command()
def schema() -> None:
    """The JSON schema of the settings file, for editors and for checks before delivery."""
    from chainops.settings import Settings

    made = Settings.model_json_schema()
    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "chainops.toml"})


def _as_toml(value: Any) -> str:
    import orjson

    return "" if value is None else orjson.dumps(value).decode()
