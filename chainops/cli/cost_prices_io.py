"""What the cost commands read and how they print it."""

from __future__ import annotations

from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainops.costing import Price, amount
from chainops.costing.book import moment
from chainops.store.prices import KIND, OWN, SNAPSHOT, PriceBooks
from chainops.store.registry import Registry

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["book_rows", "book_table", "model_rows", "model_table", "price_lines", "price_of", "price_row"]

_PER = {
    **{"input": "million tokens read", "output": "million tokens written", "reasoning": "million tokens of reasoning"},
    **{"cached_input": "million tokens from the cache", "cache_write": "million tokens into the cache"},
    "cache_write_1h": "million tokens into the cache for an hour",
    **{"input_audio": "million audio tokens read", "output_audio": "million audio tokens written"},
    **{"thousand_calls": "1,000 calls", "hour": "hour", "kwh": "kWh"},
}


def book_rows(db: Path) -> list[dict[str, Any]]:
    """Every version of every book, newest first."""
    view = Registry(db, KIND).look()
    rows = []
    for name, entry in sorted(view.entries.items()):
        for number, version in sorted(entry.versions.items(), reverse=True):
            content = version.value()
            rows.append(
                {
                    "book": name,
                    "version": number,
                    "effective_from": content["effective_from"],
                    "currency": content["currency"],
                    "models": len(content["models"]),
                    "source": content["source"],
                    "author": version.author,
                    "retired": number in entry.retired,
                }
            )
    return rows


def book_table(rows: list[dict[str, Any]]) -> Table:
    """For people."""
    from rich.table import Table

    table = Table("book", "from", "currency", "models", "source", "author", box=None)
    for row in rows:
        version = f"{row['book']}@{row['version']}" + (" (retired)" if row["retired"] else "")
        table.add_row(version, row["effective_from"], row["currency"], str(row["models"]), row["source"], row["author"])
    return table


def model_rows(db: Path, glob: str) -> list[dict[str, Any]]:
    """Models in the newest versions of the books whose names fit, with their newest prices."""
    view = Registry(db, KIND).look()
    rows = []
    for name, entry in sorted(view.entries.items()):
        if entry.latest is None:
            continue
        content = entry.versions[entry.latest].value()
        for model in content["models"]:
            if fnmatchcase(model["model"].lower(), glob.lower()):
                rows.append(
                    {
                        "book": f"{name}@{entry.latest}",
                        "model": model["model"],
                        "provider": model.get("provider", ""),
                        "currency": content["currency"],
                        **model["prices"][-1],
                    }
                )
    return rows


def model_table(rows: list[dict[str, Any]]) -> Table:
    """For people: amounts per million tokens, or per hour."""
    from rich.table import Table

    table = Table("model", "provider", "input", "cached", "output", "hour", "currency", "book", box=None)
    for row in rows:
        cells = [_amount(row.get(key)) for key in ("input", "cached_input", "output", "hour")]
        table.add_row(row["model"], row["provider"], *cells, row["currency"], row["book"])
    return table


def price_of(db: Path, model: str, provider: str | None, at: str | None) -> Price | None:
    """The price that the cost layer would take."""
    when = datetime.now(UTC) if at is None else moment(at)
    names = sorted(Registry(db, KIND).look().entries, key=lambda name: (name != OWN, name == SNAPSHOT, name))
    prices = PriceBooks(db, names, clock=when.timestamp).load()
    return prices.find([model], provider, at=when)


def price_row(price: Price) -> dict[str, Any]:
    """For ``--json``: rates in micro-units."""
    return {
        "book": price.ref,
        "model": price.model,
        "provider": price.provider,
        "currency": price.currency,
        "source": price.source,
        "from": price.since,
        "rates": dict(price.rates),
    }


def price_lines(price: Price) -> list[str]:
    """For people."""
    sold = f" ({price.provider})" if price.provider else ""
    lines = [f"{price.model}{sold}, {price.ref}" + (f", since {price.since}" if price.since else "")]
    for key, what in _PER.items():
        if key in price.rates:
            watts = f" at {price.rates['watts']} W" if key == "kwh" else ""
            lines.append(f"  {_amount(price.rates[key])} {price.currency} per {what}{watts}")
    if price.rates.get("slots", 1) > 1:
        lines.append(f"  shared by {price.rates['slots']} calls")
    return [*lines, f"  source: {price.source}"]


def _amount(rate: Any) -> str:
    if rate is None:
        return ""
    if isinstance(rate, dict):
        steps = ", ".join(f"{amount(more)} over {start:,}" for start, more in rate["over"])
        return f"{amount(rate['base'])} ({steps})"
    return amount(rate)
