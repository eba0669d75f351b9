"""``chainops backup``: everything that cannot be made again, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="The file to write; by custom it ends in .tar.gz.")],
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="The settings file; else chainops.toml of this folder.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Copy every database that the settings name, and the settings, while everything runs."""
    from dataclasses import asdict

    from chainops.cli.trace_io import print_json, progress
    from chainops.ops.backup import backup as write
    from chainops.settings import load_settings
    from chainops.settings.load import DEFAULT_FILE

    settings = load_settings(file)
    with progress("Pages copied") as step:
        report = write(settings, target, settings_file=file or Path(DEFAULT_FILE), force=force, progress=step)
    if as_json:
        print_json({**asdict(report), "path": str(report.path)})
        return
    for kept in report.kept:
        typer.echo(f"{kept.path}: {kept.bytes:,} bytes" + ("" if kept.schema is None else f", schema {kept.schema}"))
    for left in report.left_out:
        typer.echo(f"not in the backup: {left.path} ({left.setting}: {left.why})", err=True)
    typer.echo(f"{target}: {report.bytes:,} bytes, checked")
