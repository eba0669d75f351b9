"""Prompts between files and the database, and from and to other systems."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from chainops.cli.options import DEFAULT_DB, Json, PromptsDb, Who
from chainops.cli.trace_io import print_json

__all__ = ["export", "import_file", "sync"]


class Form(StrEnum):
    """Whose form a prompt to import has."""

    auto = "auto"
    langchain = "langchain"
    langsmith = "langsmith"
    langfuse = "langfuse"
    prompty = "prompty"


class Target(StrEnum):
    """The form to export prompts in."""

    files = "files"
    langchain = "langchain"


def sync(
    folder: Annotated[Path, typer.Argument(help="The folder with the prompt files.")],
    db: PromptsDb = DEFAULT_DB,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit code 1 when the two differ.")] = False,
    label: Annotated[str, typer.Option(help="The label that follows the files.")] = "files",
    message: Annotated[str, typer.Option("--message", "-m", help="What changed.")] = "",
    author: Who = None,
    as_json: Json = False,
) -> None:
    """Bring the database up to the files in a folder: new versions, and a label that points to them."""
    from dataclasses import asdict

    from chainops.cli.prompt_io import difference_line, look_if_there, user
    from chainops.middleware.prompts.folder import compare, read_folder
    from chainops.middleware.prompts.folder import sync as bring_up
    from chainops.store.artifacts import Artifacts

    view = look_if_there(db)
    contents = read_folder(folder, view)
    if check:
        found = compare(contents, view, label)
    else:
        found = bring_up(
            Artifacts(db), contents, view, who=user(author), why=message or f"sync {folder.name}", label=label
        )
    differences = [each for each in found if each.state != "same"]
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        for each in differences:
            typer.echo(difference_line(each, label, done=not check))
        typer.echo(f"{len(found)} prompts, {len(differences)} {'differ' if check else 'brought up'}", err=True)
    if check and differences:
        typer.echo(f"hint: chainops prompt sync {folder} --db {db}", err=True)
        raise typer.Exit(1)


def export(
    folder: Annotated[Path, typer.Argument(help="The folder to write to; files in it are replaced.")],
    db: PromptsDb = DEFAULT_DB,
    ref: Annotated[str, typer.Option(help="The label to export.")] = "latest",
    to: Annotated[Target, typer.Option("--to", help="Prompt files, or JSON of LangChain templates.")] = Target.files,
    as_json: Json = False,
) -> None:
    """Write every prompt that has a label as a file."""
    from chainops.cli.prompt_io import look
    from chainops.middleware.prompts.folder import write_folder, write_langchain

    write = write_langchain if to is Target.langchain else write_folder
    written = write(folder, look(db), ref)
    if as_json:
        print_json([str(path) for path in written])
    else:
        typer.echo(f"{len(written)} prompts written to {folder}", err=True)


def import_file(
    file: Annotated[Path, typer.Argument(help="A prompt that another system wrote.")],
    folder: Annotated[str, typer.Argument(help="Where to write the prompt file; - prints it.")] = "-",
    form: Annotated[Form, typer.Option("--from", help="Whose form it has.")] = Form.auto,
    name: Annotated[str | None, typer.Option("--name", help="The name of the prompt; else the file says it.")] = None,
    drop_placeholders: Annotated[
        bool, typer.Option("--drop-placeholders", help="Leave out places for other messages between messages.")
    ] = False,
) -> None:
    """Make a prompt file of a prompt of LangChain, LangSmith, Langfuse or Prompty."""
    from chainops.errors import SetupError
    from chainops.middleware.prompts.exchange import import_prompt
    from chainops.middleware.prompts.file import SUFFIX, write_prompt
    from chainops.middleware.prompts.folder import write_file
    from chainops.store.artifacts import check_name

    try:
        data = file.read_bytes()
    except OSError as error:
        raise SetupError(f"Cannot read {file}: {error.strerror}", hint="Check the path.", code="setup.import") from None
    found = import_prompt(data, name or file.stem, form.value, drop_placeholders=drop_placeholders)
    for note in found.notes:
        typer.echo(f"note: {note}", err=True)
    title = name or found.name
    check_name(title)
    text = write_prompt(title, found.content)
    if folder == "-":
        typer.echo(text, nl=False)
        return
    path = Path(folder) / f"{title}{SUFFIX}"
    write_file(path, text)
    typer.echo(f"{path} written; hint: chainops prompt sync {folder}", err=True)
