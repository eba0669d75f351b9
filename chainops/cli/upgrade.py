"""``chainops upgrade``: bring an installation's files to this version, with a backup first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(add_completion=False)


@app.command()
def upgrade(
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="The settings file; else chainops.toml of this folder.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--backup", help="Where the backup goes; else into this folder.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit code 1 when a file is older.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Back everything up, then bring each file that the settings name to this version's schema.

    A file of a newer chainops is refused, and nothing is changed. Stop what uses the files first.
    """
    from dataclasses import asdict

    from chainops.cli.trace_io import print_json, progress
    from chainops.ops.upgrade import states
    from chainops.ops.upgrade import upgrade as bring
    from chainops.settings import load_settings
    from chainops.settings.load import DEFAULT_FILE
    from chainops.store.schema import SCHEMA_VERSION

    settings = load_settings(file)
    if check:
        found = states(settings)
        if as_json:
            print_json({"schema": SCHEMA_VERSION, "files": [{**asdict(each), "older": each.older} for each in found]})
        else:
            for each in found:
                typer.echo(f"{each.path}: schema {each.schema}" + (f", {SCHEMA_VERSION} is due" if each.older else ""))
        raise typer.Exit(int(any(each.older for each in found)))
    with progress("Pages copied") as step:
        report = bring(settings, to=to, settings_file=file or Path(DEFAULT_FILE), progress=step)
    if as_json:
        made = None if report.backup is None else str(report.backup.path)
        print_json({"schema": report.schema, "upgraded": [asdict(each) for each in report.upgraded], "backup": made})
        return
    if report.backup is None:
        typer.echo(f"Everything has schema {report.schema} already")
        return
    typer.echo(f"{report.backup.path}: {report.backup.bytes:,} bytes, checked")
    for each in report.upgraded:
        typer.echo(f"{each.path}: schema {each.schema} → {report.schema}")
