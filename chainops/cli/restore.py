"""``chainops restore``: bring a backup back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def restore(
    archive: Annotated[Path, typer.Argument(help="The file that `chainops backup` wrote.")],
    into: Annotated[Path, typer.Option("--into", help="The data directory to restore to.")] = Path(),
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit code 1 when it is not whole.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also where files exist; they get another name.")] = False,
    absolute: Annotated[bool, typer.Option("--absolute", help="Also files that lay outside, to where they were.")] = (
        False
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a backup as a whole, then put its files in place: all of them, or none."""
    from datetime import datetime

    from chainops.cli.trace_io import print_json
    from chainops.errors import StoreError
    from chainops.ops.restore import restore as bring_back
    from chainops.ops.restore import verify

    try:
        report = verify(archive) if check else bring_back(archive, into, force=force, absolute=absolute)
    except StoreError as error:
        if not check or error.code == "store.missing":
            raise
        typer.echo(str(error))
        raise typer.Exit(1) from None
    placed, aside = [str(path) for path in report.placed], [str(path) for path in report.set_aside]
    if as_json:
        about = {"chainops": report.made_by, "created_ns": report.created_ns}
        print_json({**about, "files": [each.path for each in report.files], "placed": placed, "set_aside": aside})
        return
    when = datetime.fromtimestamp(report.created_ns / 1e9).isoformat(" ", "seconds")
    for path in placed:
        typer.echo(path)
    for path in aside:
        typer.echo(f"what was there before: {path}", err=True)
    state = "whole" if check else "restored"
    typer.echo(f"{archive}: {state}, {len(report.files)} files, made {when} by chainops {report.made_by}", err=True)
