"""``chainops rails verdicts``: how often each rail let texts pass, from a trace file."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from chainops.cli.options import DEFAULT_DB, Db, Json
from chainops.cli.trace_io import print_json, print_rich
from chainops.errors import SetupError

__all__ = ["run_verdicts"]

LABELS = ("allow", "monitor", "flag", "redact", "ask", "block")


def run_verdicts(
    db: Db = DEFAULT_DB,
    by: Annotated[str, typer.Option("--by", help="day or hour.")] = "day",
    days: Annotated[float | None, typer.Option("--days", min=0, help="Only the last so many days.")] = None,
    rail: Annotated[str | None, typer.Option("--rail", help="Only this rail.")] = None,
    as_json: Json = False,
) -> None:
    """How often each rail let a text pass, and how often not, by day or hour."""
    from chainops.middleware.rails.measure import wilson
    from chainops.store.maintain import settle
    from chainops.store.verdicts import verdicts

    if by not in ("day", "hour"):
        raise SetupError(f"--by {by!r} is neither day nor hour", hint="--by day", code="setup.args")
    settle(db)
    since = 0 if days is None else time.time_ns() - int(days * 86_400e9)
    rows: list[dict[str, Any]] = []
    for each in verdicts(db, by="day" if by == "day" else "hour", since_ns=since):
        if rail is not None and each.rail != rail:
            continue
        blocked = each.counts["block"]
        low, high = wilson(blocked, each.total)
        row = {"rail": each.rail, "since": each.since, "verdicts": each.total, "remembered": each.remembered}
        row |= {label: each.counts[label] for label in LABELS}
        rows.append({**row, "block_rate": blocked / each.total, "low": low, "high": high})
    if as_json:
        print_json(rows)
    elif rows:
        print_rich(_table(rows))
    else:
        typer.echo("No rail said anything in this file.", err=True)


def _table(rows: list[dict[str, Any]]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("since (UTC)", "rail"):
        table.add_column(name, no_wrap=True)
    shown = [n for n in LABELS if any(row[n] for row in rows)]
    for name in (*shown, "blocked", "95 %"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        interval = f"{row['low']:.1%} to {row['high']:.1%}"
        numbers = [str(row[n]) for n in shown]
        table.add_row(Text(row["since"]), Text(row["rail"]), *numbers, f"{row['block_rate']:.1%}", interval)
    return table
