"""``chainops rails test``: labelled texts through the rails."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainops.cli.options import Json
from chainops.cli.trace_io import picture, print_json, print_rich
from chainops.errors import SetupError

if TYPE_CHECKING:
    from chainops.middleware.rails import Rails
    from chainops.middleware.rails.trial import Labelled, Outcome

__all__ = ["default_layer", "run_trial"]

Settings = Annotated[
    Path | None, typer.Option("--settings", metavar="FILE", help="Settings; else chainops.toml where it is.")
]


def default_layer(settings: Path | None) -> Rails:
    """The rails of the settings; the jailbreak rail where they have none."""
    from chainops.app.rails import build
    from chainops.settings import load_settings

    loaded = load_settings(settings)
    try:
        return build(loaded)
    except SetupError as error:
        if error.code != "setup.rails_empty":
            raise
    typer.echo("no rail is configured: the jailbreak rail", err=True)
    return build(load_settings(settings, rails={"jailbreak": True}))


def run_trial(
    file: Annotated[Path, typer.Argument(help="JSONL with text and label.")],
    place: Annotated[str, typer.Option("--place", help="Where the texts would stand.")] = "input",
    settings: Settings = None,
    misses: Annotated[bool, typer.Option("--misses", help="Show the texts that were judged wrongly.")] = False,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE.svg", help="Write a picture as well.")] = None,
    as_json: Json = False,
) -> None:
    """How many attacks the rails find, and how often they are wrong: rates with intervals, by category."""
    import asyncio

    from chainops.middleware.rails.trial import histogram, read_labelled, report
    from chainops.middleware.rails.verdict import PLACES

    if place not in PLACES:
        raise SetupError(f"There is no place {place!r}", hint=f"Places: {', '.join(PLACES)}.", code="setup.args")
    rows = read_labelled(file)
    outcomes = asyncio.run(_outcomes(default_layer(settings), rows, place))
    found = report(outcomes)
    if plot is not None:
        _draw(plot, file.name, found, outcomes)
    wrong = [o.of for o in outcomes if o.found != (o.of.kind == "attack")] if misses else []
    if as_json:
        shown = [{"kind": row.kind, "group": row.group, "text": row.text} for row in wrong]
        print_json({**found, "misses": shown} if misses else found)
        return
    print_rich(_table(found))
    for line in histogram(outcomes):
        typer.echo(line)
    for row in wrong:
        typer.echo(f"{row.kind}: {' '.join(row.text.split())[:200]}")


async def _outcomes(rails: Rails, rows: list[Labelled], place: str) -> list[Outcome]:
    from rich.console import Console
    from rich.progress import track

    from chainops.middleware.rails.trial import Outcome

    scoring = next((rail for rail in rails.rails if hasattr(rail, "score") and place in rail.places), None)
    console, outcomes = Console(stderr=True), []
    for row in track(rows, "judging", console=console, transient=True, disable=not sys.stderr.isatty()):
        ruling = await rails.judged(row.text, place)  # type: ignore[arg-type]
        policies = {policy for _, _, policy in ruling.found}
        score = None if scoring is None else (await scoring.score(row.text)).score
        outcomes.append(Outcome(row, bool(policies - {"monitor"}), bool(policies & {"block", "ask"}), score))
    return outcomes


def _draw(path: Path, title: str, found: dict[str, Any], outcomes: list[Outcome]) -> None:
    from rich.console import Group
    from rich.text import Text

    from chainops.middleware.rails.trial import histogram

    bars = [Text(line, no_wrap=True) for line in histogram(outcomes)]
    try:
        path.write_text(picture(Group(_table(found), Text(""), *bars), title), encoding="utf-8")
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error}", hint="Name another file.", code="setup.args") from None


def _table(found: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table("", "", "hits", "of", "rate", "95 %", box=None, pad_edge=False)
    names = {
        "recall": "attacks found",
        "recall_blocked": "attacks blocked",
        "false_alarms": "false alarms, harmless",
        "false_blocks": "blocked, harmless",
        "over_blocking": "over-blocking, hard",
        "over_blocking_blocked": "blocked, hard",
        "precision": "precision",
    }
    rows = [(names[key], "", found[key]) for key in names if found[key]["of"]]
    rows += [(row["group"], row["kind"], row) for row in found["groups"]]
    for name, kind, row in rows:
        interval = f"{row['low']:.1%} to {row['high']:.1%}"
        table.add_row(name, kind, str(row["hits"]), str(row["of"]), f"{row['rate']:.1%}", interval)
    return table
