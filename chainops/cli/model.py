"""``chainops model``: model files and adapters under names, and what can be said of them before and after loading."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chainops.cli.model_run import bench, fit_command, run_model
from chainops.cli.options import DEFAULT_DB, Json, ModelsDb, Who
from chainops.cli.trace_io import print_json, print_rich

app = typer.Typer(no_args_is_help=True, help="Local models: add, list, show, verify, fit, run, bench, remove.")

Name = Annotated[str, typer.Argument(help="NAME, or NAME@LABEL, or NAME@VERSION; without @: the newest.")]

app.command("fit")(fit_command)
app.command("run")(run_model)
app.command()(bench)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="The name.")],
    file: Annotated[Path, typer.Argument(help="A GGUF file: a chat model, or a LoRA adapter.")],
    db: ModelsDb = DEFAULT_DB,
    licence: Annotated[str, typer.Option("--licence", help="In place of the one that the file names.")] = "",
    sha256: Annotated[str, typer.Option("--sha256", help="The hash that the file must have.")] = "",
    base: Annotated[str, typer.Option("--base", metavar="NAME", help="Of an adapter: its registered model.")] = "",
    probe: Annotated[bool, typer.Option("--probe/--no-probe", help="Load it in another process first.")] = True,
    message: Annotated[str, typer.Option("--message", "-m", help="What changed.")] = "",
    author: Who = None,
    as_json: Json = False,
) -> None:
    """Check a file, hash it, load it once in another process, and store what it is as a version."""
    from chainops.cli.model_io import hashing, version_line, version_row
    from chainops.cli.prompt_io import user
    from chainops.engines.llama.registered import add_file

    with hashing() as hashed:
        version, new = add_file(
            db,
            name,
            file,
            licence=licence,
            sha256=sha256,
            base=base,
            probe=probe,
            author=user(author),
            message=message,
            hashed=hashed,
        )
    if as_json:
        print_json({**version_row(version), "new": new})
    else:
        typer.echo(version_line(version) + ("" if new else " (was there already)"))
    if not version.value()["licence"]:
        typer.echo("warning: the file names no licence. hint: add it again with --licence", err=True)


@app.command("list")
def list_models(db: ModelsDb = DEFAULT_DB, as_json: Json = False) -> None:
    """Every registered model and adapter: its newest version, and whether its file is there."""
    from chainops.cli.model_io import look, model_rows, model_table

    rows = model_rows(look(db))
    if as_json:
        print_json(rows)
    elif rows:
        print_rich(model_table(rows))
    else:
        typer.echo("There is no model yet. hint: chainops model add NAME FILE", err=True)


@app.command()
def show(name: Name, db: ModelsDb = DEFAULT_DB, as_json: Json = False) -> None:
    """Everything that is stored of a version."""
    from chainops.cli.model_io import detail_lines, look, version_row
    from chainops.engines.llama.registered import find

    look(db)
    row = version_row(find(db, name))
    print_json(row) if as_json else typer.echo("\n".join(detail_lines(row)))


@app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="As for show; without one: all.")] = None,
    db: ModelsDb = DEFAULT_DB,
    as_json: Json = False,
) -> None:
    """Read the files again and compare their hashes. Exit code 1 when one is missing or has changed."""
    from dataclasses import asdict

    from chainops.cli.model_io import hashing, look, verdict_line
    from chainops.engines.llama.registered import find
    from chainops.engines.llama.registered import verify as check

    view = look(db)
    wanted = names or [name for name, entry in view.entries.items() if entry.latest is not None]
    with hashing() as hashed:
        verdicts = [check(find(db, name), hashed=hashed) for name in sorted(wanted)]
    if as_json:
        print_json([asdict(verdict) for verdict in verdicts])
    else:
        typer.echo("\n".join(map(verdict_line, verdicts)))
    if not all(verdict.ok for verdict in verdicts):
        raise typer.Exit(1)


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="NAME: all its versions; or NAME@VERSION.")],
    db: ModelsDb = DEFAULT_DB,
    why: Annotated[str, typer.Option("--why", help="The reason, kept with it.")] = "",
    author: Who = None,
    as_json: Json = False,
) -> None:
    """Take a model out of use. What was answered with it keeps its record, and the file stays where it is."""
    from chainops.cli.model_io import look
    from chainops.cli.prompt_io import user
    from chainops.engines.llama.registered import KIND, find
    from chainops.store.artifacts import Artifacts

    entry = look(db).entries.get(name)
    gone = (
        [find(db, name).version]
        if entry is None or entry.latest is None
        else [number for number in sorted(entry.versions) if number not in entry.retired]
    )
    plain = name.partition("@")[0]
    for number in gone:
        Artifacts(db).retire(KIND, plain, number, who=user(author), why=why)
    if as_json:
        print_json({"name": plain, "removed": gone})
    else:
        typer.echo(f"{plain}: {'version' if len(gone) == 1 else 'versions'} {', '.join(map(str, gone))} removed")
