"""``chainops prompt``: prompts in versions, from files, with labels that move."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chainops.cli.options import DEFAULT_DB, Json, PromptsDb, Who
from chainops.cli.prompt_files import export, import_file, sync
from chainops.cli.prompt_split import kill, split
from chainops.cli.prompt_try import diff, promote, run_prompt_tests
from chainops.cli.trace_io import print_json, print_rich

app = typer.Typer(no_args_is_help=True, help="Prompts in versions, from files, with labels that move.")

Name = Annotated[str, typer.Argument(help="NAME, or NAME@LABEL, or NAME@VERSION; without @: the newest.")]

app.command()(diff)
app.command("test")(run_prompt_tests)
app.command()(promote)
app.command()(sync)
app.command()(export)
app.command("import")(import_file)
app.command()(split)
app.command()(kill)


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="A prompt file.")],
    db: PromptsDb = DEFAULT_DB,
    message: Annotated[str, typer.Option("--message", "-m", help="What changed.")] = "",
    author: Who = None,
    as_json: Json = False,
) -> None:
    """Store a prompt file as a version. No label moves."""
    from chainops.cli.prompt_io import store_file, user, version_line, version_row

    version, new = store_file(db, file, author=user(author), message=message)
    if as_json:
        print_json({**version_row(version), "new": new})
    else:
        typer.echo(version_line(version) + ("" if new else " (was there already)"))


@app.command("list")
def list_prompts(db: PromptsDb = DEFAULT_DB, as_json: Json = False) -> None:
    """Every prompt: its newest version, and where its labels point."""
    from chainops.cli.prompt_io import look, prompt_rows, prompt_table
    from chainops.store.registry import Registry

    rows = prompt_rows(look(db), Registry(db, "split").look())
    if as_json:
        print_json(rows)
    elif rows:
        print_rich(prompt_table(rows))
    else:
        typer.echo("There is no prompt yet. hint: chainops prompt sync FOLDER", err=True)


@app.command()
def show(
    name: Name,
    db: PromptsDb = DEFAULT_DB,
    history: Annotated[bool, typer.Option("--history", help="All versions and moves of labels instead.")] = False,
    as_json: Json = False,
) -> None:
    """A version as a file; or with --history what happened to the prompt."""
    from chainops.cli.prompt_io import as_file, history_lines, history_rows, look, split_ref, version_row

    view, (plain, ref) = look(db), split_ref(name)
    version = view.resolve(plain, ref)
    if history:
        rows = history_rows(view.entries[plain])
        print_json(rows) if as_json else typer.echo("\n".join(history_lines(rows)))
    elif as_json:
        print_json({**version_row(version), "content": version.value()})
    else:
        typer.echo(as_file(view, version), nl=False)


@app.command()
def render(
    name: Name,
    db: PromptsDb = DEFAULT_DB,
    var: Annotated[list[str] | None, typer.Option("--var", metavar="NAME=TEXT", help="A text; again for more.")] = None,
    variables: Annotated[str | None, typer.Option("--vars", metavar="FILE|-", help="A JSON object of values.")] = None,
    as_json: Json = False,
) -> None:
    """The messages that a prompt becomes with some values."""
    import asyncio
    from dataclasses import asdict

    from chainops.cli.asking import choose_examples
    from chainops.cli.prompt_io import compiled, look, read_values

    prompt, values = compiled(look(db), name), read_values(variables, var or [])
    examples = asyncio.run(choose_examples(prompt, values)) if prompt.choosers else None
    rendered = prompt.render(values, examples)
    if as_json:
        row = {"name": rendered.name, "version": rendered.version, "sha256": rendered.sha256}
        print_json({**row, "variables": rendered.variables, "messages": [asdict(m) for m in rendered.messages]})
    else:
        typer.echo("\n\n".join(f"{message.role}:\n{message.text}" for message in rendered.messages))


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="The prompt.")],
    label: Annotated[str, typer.Argument(help="The label to move back.")],
    db: PromptsDb = DEFAULT_DB,
    why: Annotated[str, typer.Option("--why", help="The reason, kept with the move.")] = "",
    author: Who = None,
    as_json: Json = False,
) -> None:
    """Move a label back to where it pointed before."""
    from chainops.cli.prompt_io import look, move_line, user
    from chainops.store.artifacts import Artifacts

    look(db)
    move_line(Artifacts(db).rollback("prompt", name, label, who=user(author), why=why), as_json)


@app.command()
def retire(
    name: Annotated[str, typer.Argument(help="The prompt.")],
    version: Annotated[int, typer.Argument(help="The version that nobody shall use.")],
    why: Annotated[str, typer.Option("--why", help="The reason, kept with it.")],
    db: PromptsDb = DEFAULT_DB,
    undo: Annotated[bool, typer.Option("--undo", help="Put it into use again.")] = False,
    author: Who = None,
    as_json: Json = False,
) -> None:
    """Take a version out of use: whoever asks for it gets an error."""
    from chainops.cli.prompt_io import look, user
    from chainops.store.artifacts import Artifacts

    look(db)
    Artifacts(db).retire("prompt", name, version, who=user(author), why=why, back=undo)
    if as_json:
        print_json({"name": name, "version": version, "retired": not undo})
    else:
        typer.echo(f"{name}@{version} is {'in use again' if undo else 'retired'}")
