"""``chainops cost budgets``: what was spent of them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from chainops.cli.trace_io import print_json, print_rich
from chainops.errors import StoreError

if TYPE_CHECKING:
    from rich.table import Table

    from chainops.middleware.budgets import Budget
    from chainops.store.budgets import Account

__all__ = ["budgets"]


def budgets(
    file: Annotated[
        Path | None, typer.Option("--file", envvar="CHAINOPS_BUDGETS__PATH", help="The accounts; else of the settings.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Past days, months and years too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What was spent of each budget, and what is left by the settings here."""
    from chainops.middleware.budgets.rules import budget_of
    from chainops.settings import load_settings

    settings = load_settings().budgets
    path = file or settings.path
    rules = [budget_of(rule.model_dump(exclude_none=True)) for rule in settings.rules]
    since = "" if every else f"{datetime.now(ZoneInfo(settings.timezone)):%Y-%m-%d}"
    rows = [_row(account, rules) for account in _accounts(path, since)]
    if as_json:
        print_json(rows)
    elif rows:
        print_rich(_table(rows))
    else:
        typer.echo("Nothing was spent yet.", err=True)


def _accounts(path: Path, since: str) -> list[Account]:
    from chainops.store.budgets import BudgetFile

    if not path.is_file():
        raise StoreError(
            f"There are no budgets in {path}",
            hint="Give the file with --file; an application with the layer 'budgets' makes it.",
            code="budgets.missing",
        )
    accounts = BudgetFile(path)
    try:
        return accounts.accounts(since=since)
    finally:
        accounts.close()


def _row(account: Account, rules: list[Budget]) -> dict[str, Any]:
    from dataclasses import asdict

    import orjson

    names = orjson.loads(account.key) if account.key else []
    words = account.scope.rpartition("/")[0].split("+")
    whose: dict[Any, str] = {"user": "", "tenant": "", "chain": "", **dict(zip(words, names, strict=False))}
    # what a rule asks of more than the account says is not known here
    rule = next((r for r in rules if r.scope == account.scope and set(r.match) <= set(words) and r.fits(whose)), None)
    hard = rule.hard if rule is not None else None
    return {
        **asdict(account),
        "key": names,
        "hard": hard,
        "soft": rule.soft if rule is not None else None,
        "left": None if hard is None else max(hard - account.spent - account.reserved, 0),
    }


def _table(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    from chainops.costing import amount

    table = Table("budget", "for", "in", "spent", "reserved", "of", "left", "calls", "refused", "degraded", box=None)
    for row in rows:
        money = [row[name] for name in ("spent", "reserved", "hard", "left")]
        cells = ["" if micro is None else amount(micro, row["currency"]) for micro in money]
        counts = [str(row[name]) for name in ("calls", "refused", "degraded")]
        table.add_row(row["scope"], " ".join(map(str, row["key"])), row["span"], *cells, *counts)
    return table
