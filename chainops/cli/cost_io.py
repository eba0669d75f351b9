"""What the commands about spending read and how they print it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

from chainops.costing import UNIT, amount
from chainops.errors import SetupError
from chainops.store.spending import Figures, Period

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "by_json",
    "by_table",
    "daily_json",
    "daily_table",
    "one_currency",
    "period_of",
    "savings_table",
    "top_table",
    "zone_of",
]

T = TypeVar("T")


def zone_of(name: str) -> ZoneInfo:
    """The time zone, or a clear error."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        raise SetupError(f"{name!r} is no time zone", hint="For example Europe/Berlin.", code="setup.args") from None


def period_of(since: str | None, until: str | None, zone: ZoneInfo) -> Period:
    """Between two days or times; without an offset they are meant in ``zone``."""
    return Period(_ns(since, zone), _ns(until, zone))


def _ns(text: str | None, zone: ZoneInfo) -> int | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise SetupError(
            f"{text!r} is no date", hint="Write 2026-11-21, or 2026-11-21T13:20:00+00:00.", code="cost.date"
        ) from None
    return int((at if at.tzinfo is not None else at.replace(tzinfo=zone)).timestamp()) * 10**9


def one_currency(rows: Sequence[T], of: Callable[[T], Figures], wanted: str | None) -> tuple[list[T], str]:
    """The rows in one currency, and which it is: sums over several would mean nothing. Rows without a cost stay.

    Raises:
        SetupError: there are several, and none is named (``cost.currency``).
    """
    found = sorted({of(row).currency for row in rows} - {""})
    if len(found) > 1 and wanted is None:
        raise SetupError(
            f"There are costs in {' and '.join(found)}", hint=f"Name one: --currency {found[0]}", code="cost.currency"
        )
    used = wanted or (found[0] if found else "")
    return [row for row in rows if of(row).currency in (used, "")], used


def daily_json(rows: Sequence[tuple[int, str, Figures]]) -> dict[str, Any]:
    """Costs in units of the currency, by day and model. Days are named by the second at which they begin."""
    days: dict[int, dict[str, int]] = {}
    for day, model, figures in rows:
        if figures.currency:
            models = days.setdefault(day, {})
            models[model] = models.get(model, 0) + figures.micro
    return {
        "daily_cost": [
            {"timestamp": day, "line_items": [{"model": m, "cost": micro / UNIT} for m, micro in models.items()]}
            for day, models in days.items()
        ]
    }


def daily_table(rows: Sequence[tuple[int, str, Figures]], currency: str, zone: ZoneInfo) -> Table:
    """For people."""
    table = _table(["day", "model"], ["calls", "in", "out", f"cost {currency}".strip()])
    for day, model, figures in rows:
        cells = [str(figures.calls), f"{figures.tokens_in:,}", f"{figures.tokens_out:,}", _cost(figures)]
        table.add_row(f"{datetime.fromtimestamp(day, zone):%Y-%m-%d}", model, *cells)
    total = sum(figures.micro for _, _, figures in rows)
    table.add_row("", "total", "", "", "", amount(total), style="bold")
    return table


def by_json(rows: Sequence[tuple[str, Figures]], dimension: str) -> list[dict[str, Any]]:
    """Cost in units and in micro-units; None where it is not known."""
    return [
        {
            dimension: value or None,
            "calls": figures.calls,
            "unknown": figures.unknown,
            "tokens_in": figures.tokens_in,
            "tokens_cached": figures.tokens_cached,
            "tokens_out": figures.tokens_out,
            "out_per_in": figures.out_per_in,
            "cost": figures.micro / UNIT if figures.currency else None,
            "micro": figures.micro if figures.currency else None,
            "currency": figures.currency or None,
        }
        for value, figures in rows
    ]


def by_table(rows: Sequence[tuple[str, Figures]], dimension: str, currency: str) -> Table:
    """For people."""
    right = ["calls", "unknown", "in", "cached", "out", "out/in", f"cost {currency}".strip(), "share"]
    table = _table([dimension], right)
    total = sum(figures.micro for _, figures in rows)
    for value, figures in rows:
        ratio = figures.out_per_in
        tokens = [f"{n:,}" for n in (figures.tokens_in, figures.tokens_cached, figures.tokens_out)]
        table.add_row(
            value or "(none)",
            str(figures.calls),
            str(figures.unknown or ""),
            *tokens,
            "" if ratio is None else f"{ratio:.2f}",
            _cost(figures),
            f"{figures.micro / total:.0%}" if total and figures.currency else "",
        )
    return table


def top_table(rows: Sequence[dict[str, Any]], what: str) -> Table:
    """For people."""
    call = what == "call"
    table = _table(["time", "run", "graph", *(["node", "model"] if call else ["user"])], ["calls", "in", "out", "cost"])
    for row in rows:
        at = f"{datetime.fromtimestamp(row['start_ns'] / 1e9):%Y-%m-%d %H:%M:%S}"
        more = [row["node"], row["model"]] if call else [str(row["user"] or "")]
        counts = [str(row["calls"]), f"{row['tokens_in']:,}", f"{row['tokens_out']:,}"]
        table.add_row(at, row["run_id"], row["graph"], *more, *counts, amount(row["micro"], row["currency"]))
    return table


def savings_table(rows: Sequence[dict[str, Any]]) -> Table:
    """For people."""
    table = _table(["layer"], ["calls", "tokens", "seconds", "money"])
    for row in rows:
        seconds = f"{row['ms'] / 1000:,.1f}" if row["ms"] else ""
        table.add_row(
            row["layer"], str(row["calls"]), f"{row['tokens']:,}", seconds, amount(row["micro"], row["currency"])
        )
    return table


def _cost(figures: Figures) -> str:
    if not figures.currency:
        return "?"
    return amount(figures.micro) + (" + ?" if figures.unknown else "")


def _table(left: Sequence[str], right: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(box=None)
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right")
    return table
