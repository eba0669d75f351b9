"""``chainops rails``: what may be said, tried out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainops.cli.options import Json
from chainops.cli.rails_measure import run_bench, run_evaluate
from chainops.cli.rails_trial import run_trial
from chainops.cli.rails_verdicts import run_verdicts
from chainops.cli.trace_io import print_json
from chainops.errors import SetupError

if TYPE_CHECKING:
    from chainops.middleware.rails import Rails, Ruling

app = typer.Typer(no_args_is_help=True, help="Rails: what may be said.")

Settings = Annotated[
    Path | None, typer.Option("--settings", metavar="FILE", help="Settings; else chainops.toml where it is.")
]
Folder = Annotated[Path | None, typer.Option("--config", metavar="FOLDER", help="A NeMo folder, beside the settings.")]
Deny = Annotated[list[str] | None, typer.Option("--deny", metavar="TEXT", help="A word or phrase that must not occur.")]
Pattern = Annotated[
    list[str] | None, typer.Option("--pattern", metavar="NAME=REGEX", help="A pattern that must not match.")
]


def layer(settings: Path | None, config: Path | None, deny: list[str] | None, pattern: list[str] | None) -> Rails:
    """The rails of the settings with what the options add.

    Raises:
        SetupError: there is none.
    """
    from chainops.app.rails import build
    from chainops.settings import load_settings

    given: dict[str, Any] = {}
    if config is not None:
        given["config"] = config
    if deny:
        given["deny"] = tuple(deny)
    if pattern:
        given["patterns"] = dict(map(_named, pattern))
    return build(load_settings(settings, rails=given))


def _named(text: str) -> tuple[str, str]:
    name, found, pattern = text.partition("=")
    if not found or not name or not pattern:
        raise SetupError(f"--pattern {text!r} is not NAME=REGEX", hint="--pattern 'number=[0-9]{8}'", code="setup.args")
    return name, pattern


app.command("test")(run_trial)
app.command("bench")(run_bench)
app.command("evaluate")(run_evaluate)
app.command("verdicts")(run_verdicts)


@app.command()
def check(
    text: Annotated[str, typer.Argument(help="What to judge; - reads standard input.")],
    place: Annotated[
        str, typer.Option("--place", help="input, output, tool_call, tool_result or retrieval.")
    ] = "input",
    settings: Settings = None,
    config: Folder = None,
    deny: Deny = None,
    pattern: Pattern = None,
    as_json: Json = False,
) -> None:
    """What the rails say about TEXT. Exit code 1 when it would be refused, or a person asked."""
    import asyncio

    from chainops.middleware.rails.verdict import PLACES

    if place not in PLACES:
        raise SetupError(f"There is no place {place!r}", hint=f"Places: {', '.join(PLACES)}.", code="setup.args")
    rails = layer(settings, config, deny, pattern)
    words = sys.stdin.read() if text == "-" else text
    ruling = asyncio.run(rails.judged(words, place))
    rows = _rows(ruling)
    refused = ruling.blocked is not None or ruling.ask is not None
    if as_json:
        print_json({"passes": not refused, "text": None if refused else ruling.text, "found": rows})
    else:
        for row in rows:
            score = "" if row["score"] is None else f" ({row['score']:.2f})"
            typer.echo(f"{row['policy']}: {row['rail']}{score}: {row['reason'] or row['category']}")
        if not refused:
            typer.echo("passes" if ruling.text == words else f"passes as: {ruling.text}")
    raise typer.Exit(1 if refused else 0)


def _rows(ruling: Ruling) -> list[dict[str, Any]]:
    return [
        {
            "rail": rail.name,
            "policy": policy,
            "category": verdict.category,
            "reason": verdict.reason,
            "score": verdict.score,
            "failed": verdict.failed,
        }
        for rail, verdict, policy in ruling.found
    ]
