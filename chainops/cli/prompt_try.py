"""What tries prompts out: their tests, the difference between two versions, promotion."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from chainops.cli.asking import Model
from chainops.cli.options import DEFAULT_DB, Json, PromptsDb, Who
from chainops.cli.trace_io import print_json, print_rich

__all__ = ["diff", "promote", "run_prompt_tests"]

TextOnly = Annotated[bool, typer.Option("--text-only", help="Ask no model.")]


def diff(
    name: Annotated[str, typer.Argument(help="The prompt.")],
    old: Annotated[str | None, typer.Argument(help="A label or version; else what NEW was made from.")] = None,
    new: Annotated[str, typer.Argument(help="A label or version.")] = "latest",
    db: PromptsDb = DEFAULT_DB,
    model: Model = None,
    text_only: TextOnly = False,
    unified: Annotated[bool, typer.Option("--unified", help="As a patch, also on a terminal.")] = False,
    as_json: Json = False,
) -> None:
    """What differs between two versions: their texts, and what a model answers to each in the prompt's own tests.

    Side by side on a terminal, else as a patch.
    """
    import sys

    from chainops.cli.prompt_behaviour import behaviour, behaviour_lines, behaviour_table
    from chainops.cli.prompt_io import as_file, look, patch, side_by_side, version_row

    view = look(db)
    after = view.resolve(name, new)
    before = view.entries[name].versions[after.parent or 1] if old is None else view.resolve(name, old)
    texts = as_file(view, before), as_file(view, after)
    titles = f"{name}@{before.version}", f"{name}@{after.version}"
    rows = [] if text_only or texts[0] == texts[1] else behaviour(view, name, before.version, after.version, model)
    if as_json:
        row = {"old": version_row(before), "new": version_row(after), "patch": patch(*texts, *titles)}
        print_json({**row, "behaviour": rows})
    elif texts[0] == texts[1]:
        typer.echo(f"{titles[0]} and {titles[1]} are the same", err=True)
    elif sys.stdout.isatty() and not unified:
        print_rich(side_by_side(*texts, *titles))
        if rows:
            print_rich(behaviour_table(rows, *titles))
    else:
        typer.echo(patch(*texts, *titles), nl=False)
        for line in behaviour_lines(rows, *titles):
            typer.echo(line)


def run_prompt_tests(
    names: Annotated[list[str] | None, typer.Argument(help="NAME, NAME@LABEL ...; without one: all, newest.")] = None,
    db: PromptsDb = DEFAULT_DB,
    model: Model = None,
    text_only: TextOnly = False,
    as_json: Json = False,
) -> None:
    """Run the tests that prompts bring along, on their text and on what a model answers. Exit code 1 when one fails."""
    from chainops.cli.asking import outcomes_of
    from chainops.cli.prompt_io import compiled, look

    view = look(db)
    chosen = names or [name for name, entry in sorted(view.entries.items()) if entry.latest is not None]
    prompts = [compiled(view, name) for name in chosen]
    rows: list[dict[str, Any]] = [
        {
            "prompt": prompt.name,
            "version": prompt.version,
            "test": outcome.name,
            "problems": list(outcome.problems),
            "answer": outcome.answer,
        }
        for prompt, outcomes in zip(prompts, outcomes_of(prompts, model, text_only=text_only), strict=True)
        for outcome in outcomes
    ]
    failed = [row for row in rows if row["problems"]]
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            mark = "FAILED" if row["problems"] else "ok    "
            problems = "".join(f"\n         {problem}" for problem in row["problems"])
            typer.echo(f"{mark} {row['prompt']}@{row['version']}: {row['test']}{problems}")
        typer.echo(f"{len(rows)} tests of {len(chosen)} prompts, {len(failed)} failed", err=True)
    if failed:
        raise typer.Exit(1)


def promote(
    name: Annotated[str, typer.Argument(help="NAME@VERSION or NAME@LABEL; without @: the newest.")],
    label: Annotated[str, typer.Argument(help="The label that shall point to it.")],
    db: PromptsDb = DEFAULT_DB,
    why: Annotated[str, typer.Option("--why", help="The reason, kept with the move.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Although its tests fail; needs --why.")] = False,
    author: Who = None,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Let a label point to a version. Refused when the version's tests fail (exit code 1)."""
    from chainops.cli.prompt_io import compiled, failed_tests, look, move_line, user
    from chainops.errors import SetupError
    from chainops.store.artifacts import Artifacts

    if force and not why:
        raise SetupError("--force needs a reason", hint='Add --why "..."; it is kept.', code="setup.promote")
    prompt = compiled(look(db), name)
    if problems := failed_tests(prompt, model):
        why = f"forced, {len(problems)} tests failed: {why}" if force else why
        for problem in problems:
            typer.echo(f"{prompt.name}@{prompt.version}: {problem}", err=True)
        if not force:
            typer.echo("hint: mend the prompt, or promote it with --force --why REASON", err=True)
            raise typer.Exit(1)
    move = Artifacts(db).move("prompt", prompt.name, label, prompt.version, who=user(author), why=why)
    move_line(move, as_json)
