"""``chainops rails bench`` and ``rails evaluate``: what rails cost, and how often the learned ones are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainops.cli.options import Json
from chainops.cli.trace_io import print_json, print_rich
from chainops.errors import SetupError

if TYPE_CHECKING:
    from chainops.middleware.rails import Rails

__all__ = ["run_bench", "run_evaluate"]


def run_evaluate(
    rail: Annotated[str, typer.Argument(help="toxicity, jailbreak or indirect_injection; else all.")] = "",
    weights: Annotated[Path | None, typer.Option("--weights", metavar="FILE", help="Weights of your own.")] = None,
    as_json: Json = False,
) -> None:
    """The measured error rates of the rails that learned, on texts that they did not learn from."""
    from chainops.middleware.rails.cards import RAILS, error_rates

    if weights is not None and not rail:
        raise SetupError(
            "Whose weights are they?", hint="chainops rails evaluate toxicity --weights FILE", code="setup.args"
        )
    found = {name: error_rates(name, weights) for name in ([rail] if rail else RAILS)}
    if as_json:
        print_json(found)
        return
    for name, card in found.items():
        typer.echo(f"{name}: {card['about']}")
        print_rich(_rates(card["rows"]))
        origins = dict.fromkeys(f"{row['origin']} ({row['licence']})" for row in card["sources"])
        typer.echo(f"flags from {card['thresholds']['flag']:.3f}, blocks from {card['thresholds']['block']:.3f}")
        typer.echo(f"learned from parts of {', '.join(origins)}, and from texts of our own\n")


def _rates(rows: list[dict[str, Any]]) -> Any:
    from rich.table import Table

    table = Table("texts", "", "", "number", "rate", "95 %", box=None, pad_edge=False)
    for row in rows:
        interval = f"{row['low']:.1%} to {row['high']:.1%}"
        table.add_row(row["set"], row["kind"], row["what"], str(row["texts"]), f"{row['rate']:.1%}", interval)
    return table


def run_bench(
    settings: Annotated[
        Path | None, typer.Option("--settings", metavar="FILE", help="Settings; else chainops.toml where it is.")
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=2, help="Each figure is the median of so many.")] = 10,
    at_once: Annotated[int, typer.Option("--at-once", min=2, help="Runs at once.")] = 100,
    as_json: Json = False,
) -> None:
    """What the rails of the settings cost on this machine: a graph with them against one without, and each alone."""
    import asyncio

    from rich.console import Console

    from chainops.testing.rails_cost import measure

    rails = _layer(settings)
    console = Console(stderr=True)
    with console.status("") as status:
        work = measure(rails, rounds=rounds, at_once=at_once, progress=status.update)
        found = asyncio.run(work)
    if as_json:
        print_json(found)
        return
    print_rich(_costs(found, at_once))


def _layer(settings: Path | None) -> Rails:
    from chainops.app.rails import build
    from chainops.settings import load_settings

    try:
        return build(load_settings(settings))
    except SetupError as error:
        if error.code != "setup.rails_empty":
            raise
    typer.echo("no rail is configured: one pattern", err=True)
    return build(load_settings(settings, rails={"patterns": {"code": r"\d{4}-\d{4}"}}))


def _costs(found: dict[str, Any], at_once: int) -> Any:
    from rich.table import Table

    table = Table("", "wall", "cpu", box=None, pad_edge=False)
    for key, name in (("graph", "five nodes, with rails / without"), ("graph_at_once", f"the same, {at_once} at once")):
        table.add_row(name, f"{found[key]['wall']:.2f} x", f"{found[key]['cpu']:.2f} x")
    for name, row in found["rails"].items():
        table.add_row(f"{name}, 12 words", "", f"{row['short_us']:.0f} us")
        table.add_row(f"{name}, 250 words", "", f"{row['long_us']:.0f} us")
    table.add_row("a piece of a stream", "", f"{found['stream']['us_per_piece']:.1f} us")
    return table
