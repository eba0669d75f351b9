"""New versions of price books: from files, from the snapshot, or one price more."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from chainops.costing import check_book, micro_of
from chainops.costing.money import decimal_of
from chainops.costing.rates import OTHER_KEYS, TOKEN_KEYS
from chainops.errors import SetupError
from chainops.store.artifacts import Artifacts, ArtifactVersion
from chainops.store.prices.books import KIND
from chainops.store.registry import Registry

__all__ = ["add_price", "entry_of", "import_book", "read_book"]

_MONEY = (*TOKEN_KEYS, "thousand_calls", "hour", "kwh")


def read_book(file: Path) -> dict[str, Any]:
    """A price book from a file: TOML with amounts in units of the currency, or JSON as the database has it.

    Raises:
        SetupError: it cannot be read (``cost.file``), or is no price book (``cost.book``, ``cost.amount``).
    """
    try:
        data = file.read_bytes()
        if file.suffix.lower() == ".json":
            return check_book(orjson.loads(data))
        tree = tomllib.loads(data.decode("utf-8-sig"), parse_float=Decimal)
    except (OSError, ValueError) as error:
        raise SetupError(
            f"Cannot read the price book {file}: {error}", hint="Give a .toml or .json file.", code="cost.file"
        ) from None
    rows = tree.get("models")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SetupError(f"{file} has no [[models]]", hint="See reference/costs.md for the form.", code="cost.book")
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        entry = entry_of(**row)
        known = merged.setdefault((entry["model"], entry.get("provider", "")), {**entry, "prices": []})
        known["prices"] = _sorted([*known["prices"], *entry["prices"]])
    head = {key: str(tree[key]) for key in ("currency", "source", "effective_from") if key in tree}
    return check_book({"effective_from": "1970-01-01", **head, "models": list(merged.values())})


def entry_of(model: str = "", *, provider: str = "", source: str = "", **price: Any) -> dict[str, Any]:
    """A model with one price, as a book has it. ``from`` is a date; ``watts`` and ``slots`` are whole numbers; the
    others are amounts in units of the currency, per million tokens, 1,000 calls, hour, second or kWh.
    """
    row: dict[str, Any] = {}
    for key, value in price.items():
        if key == "second":
            row["hour"] = micro_of(decimal_of(value, f"{model}: {key}") * 3600, f"{model}: {key}")
        elif key in _MONEY:
            row[key] = micro_of(value, f"{model}: {key}")
        elif key in OTHER_KEYS:
            row[key] = value
        else:
            row[key] = str(value)
    entry = {"model": str(model), "prices": [row]}
    return {**entry, **({"provider": provider} if provider else {}), **({"source": source} if source else {})}


def import_book(path: Path, name: str, content: Mapping[str, Any], *, author: str) -> tuple[ArtifactVersion, bool]:
    """Store ``content`` as the newest version of a book; False where that says nothing new."""
    view = Registry(path, KIND).look() if path.is_file() else None
    entry = view.entries.get(name) if view is not None else None
    if entry is not None and entry.latest is not None:
        newest = entry.versions[entry.latest]
        if _said(newest.value()) == _said(content):
            return newest, False
    new = {**content, "revised": _now()}
    return Artifacts(path).add(KIND, name, new, author=author, message=str(content["source"]))


def add_price(
    path: Path, name: str, entry: Mapping[str, Any], *, currency: str, source: str, author: str
) -> ArtifactVersion:
    """One price more in a book: a version with it beside all that the book had. Safe in several processes at once.

    Raises:
        SetupError: the book is in another currency (``cost.currency``), or the price is none (``cost.book``).
    """

    def make(known: Any) -> dict[str, Any]:
        return check_book({**_with(known, entry, name, currency, source), "revised": _now()})

    return Artifacts(path).change(KIND, name, make, author=author, message=f"{entry['model']}: {source}")


def _now() -> str:
    """So that a book that says again what it once said is a version of its own, and the newest."""
    return datetime.now(UTC).isoformat()


def _said(content: Mapping[str, Any]) -> dict[str, Any]:
    """Without what a second look at the same prices changes."""
    ignored = {"revised", "effective_from"} if "providers" in content else {"revised"}
    return {key: value for key, value in content.items() if key not in ignored}


def _with(
    content: dict[str, Any] | None, entry: Mapping[str, Any], name: str, currency: str, source: str
) -> dict[str, Any]:
    if content is None:
        today = datetime.now(UTC).date().isoformat()
        first = min(str(row.get("from", today)) for row in entry["prices"])
        return {"currency": currency, "source": source, "effective_from": min(first, today), "models": [entry]}
    if content["currency"] != currency:
        raise SetupError(
            f"The price book {name!r} is in {content['currency']}, and this price in {currency}",
            hint=f"Convert it, or put it into a book of its own: --book {name}-{currency.lower()}.",
            code="cost.currency",
        )
    first = min([content["effective_from"], *(str(row["from"]) for row in entry["prices"] if "from" in row)])
    models = list(content["models"])
    for position, known in enumerate(models):
        if known["model"] == entry["model"] and known.get("provider") == entry.get("provider"):
            models[position] = {**known, **entry, "prices": _sorted([*known["prices"], *entry["prices"]])}
            break
    else:
        models.append(dict(entry))
    return {**content, "effective_from": first, "models": models}


def _sorted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By the date from which they hold; of two with one date the later written one counts."""
    found = {str(row.get("from", "")): row for row in rows}
    return [found[key] for key in sorted(found)]
