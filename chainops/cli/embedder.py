"""``chainops embedder``: the model that turns texts into vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chainops.cli.options import Json
from chainops.cli.trace_io import print_json
from chainops.errors import SetupError

app = typer.Typer(no_args_is_help=True, help="The model that turns texts into vectors.")


@app.command()
def export(
    folder: Annotated[Path | None, typer.Argument(help="Where to write it; else the usual place.")] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="A folder with the weights; else the installed package's.")
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="A quarter of the size, and less exact.")] = False,
    half: Annotated[bool, typer.Option("--half", help="Half the size, the same vectors within a thousandth.")] = False,
    as_json: Json = False,
) -> None:
    """Make the model file from the published weights of all-MiniLM-L6-v2. Takes seconds; no network."""
    from chainops.engines.embeddings.export import export as make
    from chainops.engines.embeddings.place import default_place, open_folder

    if int8 and half:
        raise SetupError("--int8 and --half exclude each other", hint="Give one of them.", code="setup.option")
    out = make(folder or default_place(), weights, int8=int8, half=half)
    found = open_folder(out)
    if as_json:
        print_json({"path": str(out), "identity": found.identity, **found.card})
    else:
        typer.echo(f"{out}: {found.identity}")


@app.command()
def show(
    folder: Annotated[Path | None, typer.Argument(help="The folder of the model; else the usual place.")] = None,
    as_json: Json = False,
) -> None:
    """Which model it is, and that its files are whole."""
    from chainops.engines.embeddings.place import default_place, open_folder

    found = open_folder(folder or default_place())
    if as_json:
        print_json({"path": str(found.path), "identity": found.identity, **found.card})
    else:
        typer.echo(f"{found.path}: {found.identity}, {found.card['dimensions']} dimensions, {found.card['licence']}")
