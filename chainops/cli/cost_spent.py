"""``chainops cost daily``, ``by``, ``top`` and ``savings``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from chainops.cli.options import DEFAULT_DB, Db, Json
from chainops.cli.trace_io import print_json, print_rich

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chainops.store.spending import Figures

__all__ = ["by", "daily", "savings", "top"]

Since = Annotated[str | None, typer.Option("--since", metavar="DATE", help="From this day or time on.")]
Until = Annotated[str | None, typer.Option("--until", metavar="DATE", help="Before this day or time.")]
Zone = Annotated[str, typer.Option("--timezone", envvar="CHAINOPS_BUDGETS__TIMEZONE", help="In which days begin.")]
Currency = Annotated[str | None, typer.Option("--currency", help="Only costs in this one, where there are several.")]


def daily(
    db: Db = DEFAULT_DB,
    since: Since = None,
    until: Until = None,
    timezone: Zone = "UTC",
    currency: Currency = None,
    as_json: Json = False,
) -> None:
    """What each day cost, model by model."""
    from chainops.cli.cost_io import daily_json, daily_table, one_currency, period_of, zone_of
    from chainops.store.spending import daily as spent

    zone = zone_of(timezone)
    rows = spent(db, period_of(since, until, zone), zone)
    rows, used = one_currency(rows, lambda row: row[2], currency)
    _say_unknown(figures for _, _, figures in rows)
    if as_json:
        print_json(daily_json(rows))
    elif rows:
        print_rich(daily_table(rows, used, zone))
    else:
        typer.echo("No model was called.", err=True)


def by(
    dimension: Annotated[
        str, typer.Argument(help="model, user, tenant, chain, thread, node, deployment, price, or meta:KEY.")
    ],
    db: Db = DEFAULT_DB,
    since: Since = None,
    until: Until = None,
    timezone: Zone = "UTC",
    currency: Currency = None,
    as_json: Json = False,
) -> None:
    """What was spent, by model, user, tenant ...: calls, tokens, tokens out for each one in, cost."""
    from chainops.cli.cost_io import by_json, by_table, one_currency, period_of, zone_of
    from chainops.store.spending import by as spent

    rows = spent(db, dimension, period_of(since, until, zone_of(timezone)))
    rows, used = one_currency(rows, lambda row: row[1], currency)
    _say_unknown(figures for _, figures in rows)
    if as_json:
        print_json(by_json(rows, dimension))
    elif rows:
        print_rich(by_table(rows, dimension, used))
    else:
        typer.echo("No model was called.", err=True)


def top(
    db: Db = DEFAULT_DB,
    what: Annotated[str, typer.Option("--what", help="run or call.")] = "run",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 10,
    since: Since = None,
    until: Until = None,
    timezone: Zone = "UTC",
    as_json: Json = False,
) -> None:
    """The dearest runs, or single calls."""
    from chainops.cli.cost_io import period_of, top_table, zone_of
    from chainops.errors import SetupError
    from chainops.store.spending import top as dearest

    if what not in ("run", "call"):
        raise SetupError(f"--what {what} is neither run nor call", hint="Give one of them.", code="setup.args")
    rows = dearest(db, period_of(since, until, zone_of(timezone)), what=what, limit=limit)
    if as_json:
        print_json(rows)
    elif rows:
        print_rich(top_table(rows, what))
    else:
        typer.echo("No call has a known cost.", err=True)


def savings(
    db: Db = DEFAULT_DB, since: Since = None, until: Until = None, timezone: Zone = "UTC", as_json: Json = False
) -> None:
    """What each middleware saved: cached answers, shorter prompts ..."""
    from chainops.cli.cost_io import period_of, savings_table, zone_of
    from chainops.store.spending import savings as saved

    rows = saved(db, period_of(since, until, zone_of(timezone)))
    if as_json:
        print_json(rows)
    elif rows:
        print_rich(savings_table(rows))
    else:
        typer.echo("Nothing was saved.", err=True)


def _say_unknown(figures: Iterable[Figures]) -> None:
    unknown = sum(each.unknown for each in figures)
    if unknown:
        hint = "chainops cost by model shows which; chainops cost prices add MODEL"
        typer.echo(f"warning: the cost of {unknown} calls is not known, and not in these sums. hint: {hint}", err=True)
