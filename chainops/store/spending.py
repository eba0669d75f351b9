"""What was spent, and what was saved, from the spans of a trace file. Sums are whole micro-units."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import orjson

from chainops.costing import PriceBook, Unpriced, Usage, cost_micro
from chainops.errors import ChainopsError, SetupError
from chainops.store.prices import KIND
from chainops.store.registry import Registry, View
from chainops.store.schema import explain, open_reader

__all__ = ["DIMENSIONS", "Figures", "Period", "by", "daily", "savings", "top"]

_QUARTER_NS = 900_000_000_000
"""Every time zone in use is a multiple of a quarter of an hour away from UTC."""

_NOTE = "CASE WHEN json_valid(s.attributes) THEN json_extract(s.attributes, '{path}') END"
_META = "CASE WHEN json_valid(r.meta) THEN json_extract(r.meta, '{path}') END"
_MODEL = f"coalesce(s.model, {_NOTE.format(path='$.cost.model')}, s.name)"

DIMENSIONS: Mapping[str, str] = {
    "model": _MODEL,
    "user": _META.format(path="$.user"),
    "tenant": _META.format(path="$.tenant"),
    "chain": "r.graph",
    "thread": "r.thread",
    "node": "s.path",
    "deployment": _NOTE.format(path="$.route.deployment"),
    "price": _NOTE.format(path="$.cost.price"),
}
"""What spending can be sorted by, and where it stands."""


@dataclass(frozen=True, slots=True)
class Period:
    """From ``since`` on, and before ``until``: nanoseconds since 1970, None for open."""

    since: int | None = None
    until: int | None = None

    def where(self) -> tuple[str, list[int]]:
        """As SQL."""
        parts = [("s.start_ns >= ?", self.since), ("s.start_ns < ?", self.until)]
        found = [(sql, value) for sql, value in parts if value is not None]
        return "".join(f" AND {sql}" for sql, _ in found), [value for _, value in found]


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums over model calls.

    Args:
        calls: that were made; cached answers are none. unknown: those among them whose cost is not wholly known.
        tokens_in, tokens_cached, tokens_out: as the models reported them.
        micro: millionths of ``currency``; "" where nothing has a known cost.
    """

    calls: int
    unknown: int
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    micro: int
    currency: str

    @classmethod
    def of(cls, sums: Sequence[int], currency: str) -> Figures:
        """From a row of the database."""
        calls, unknown, tokens_in, tokens_cached, tokens_out, micro = sums
        return cls(calls, unknown, tokens_in, tokens_cached, tokens_out, micro, currency)

    def plus(self, other: Figures) -> Figures:
        """Both together; the currency of whichever has one."""
        mine, more = astuple(self)[:-1], astuple(other)[:-1]
        return Figures.of([a + b for a, b in zip(mine, more, strict=True)], self.currency or other.currency)

    @property
    def out_per_in(self) -> float | None:
        """Tokens written for each one read."""
        return self.tokens_out / self.tokens_in if self.tokens_in else None


_COST = _NOTE.format(path="$.cost.micro")
_CURRENCY = f"CASE WHEN {_COST} IS NULL THEN '' ELSE coalesce({_NOTE.format(path='$.cost.currency')}, '') END"
_HIT = _NOTE.format(path="$.cache.kind")
_UNKNOWN = f"({_COST} IS NULL OR {_NOTE.format(path='$.cost.unknown')} IS NOT NULL)"
_SUMS = (
    f"count(*), coalesce(sum({_UNKNOWN}), 0), coalesce(sum(s.tokens_in), 0), coalesce(sum(s.tokens_cached), 0),"
    f" coalesce(sum(s.tokens_out), 0), coalesce(sum({_COST}), 0)"
)
# a call counts that reached a model: it has a cost, or reported tokens, and is no answer from a cache
_MADE = (
    f"s.kind = 'model' AND {_HIT} IS NULL AND (s.tokens_out IS NOT NULL OR {_NOTE.format(path='$.cost')} IS NOT NULL)"
)
_FROM = "FROM span s JOIN run r ON r.id = s.run"


def daily(path: str | Path, period: Period, zone: ZoneInfo) -> list[tuple[int, str, Figures]]:
    """For each day of ``zone`` (the second since 1970 at which it began) and model: the figures, oldest first."""
    where, values = period.where()
    sql = (
        f"SELECT s.start_ns / {_QUARTER_NS}, {_MODEL}, {_CURRENCY}, {_SUMS} {_FROM}"
        f" WHERE {_MADE}{where} GROUP BY 1, 2, 3"
    )
    days: dict[tuple[tuple[int, str], str], Figures] = {}
    with _reading(path) as db:
        for quarter, model, currency, *sums in db.execute(sql, values):
            at = datetime.fromtimestamp(quarter * 900, zone).replace(hour=0, minute=0, second=0, fold=0)
            place = (int(at.timestamp()), str(model)), currency
            found = Figures.of(sums, currency)
            days[place] = days[place].plus(found) if place in days else found
    return [(day, model, figures) for (day, model), figures in sorted(_joined(days), key=lambda row: row[0])]


def by(path: str | Path, dimension: str, period: Period) -> list[tuple[str, Figures]]:
    """For each value of a dimension, or of a key of the runs' metadata (``meta:team``): the figures, dearest first.

    Raises:
        SetupError: there is no such dimension (``cost.dimension``).
    """
    where, values = period.where()
    key: list[str] = []
    if dimension.startswith("meta:") and '"' not in dimension:
        column, key = _META.replace("'{path}'", "?"), [f'$."{dimension[5:]}"']
    elif dimension in DIMENSIONS:
        column = DIMENSIONS[dimension]
    else:
        raise SetupError(
            f"Costs cannot be shown by {dimension!r}",
            hint=f"One of {', '.join(DIMENSIONS)}, or meta:KEY for what the runs' metadata says.",
            code="cost.dimension",
        )
    sql = f"SELECT coalesce({column}, ''), {_CURRENCY}, {_SUMS} {_FROM} WHERE {_MADE}{where} GROUP BY 1, 2"
    with _reading(path) as db:
        rows = db.execute(sql, [*key, *values]).fetchall()
    found = {(str(value), currency): Figures.of(sums, currency) for value, currency, *sums in rows}
    return sorted(_joined(found), key=lambda row: (-row[1].micro, -row[1].calls, row[0]))


def top(path: str | Path, period: Period, *, what: str = "run", limit: int = 10) -> list[dict[str, Any]]:
    """The dearest runs or calls."""
    where, values = period.where()
    one = "s.id" if what == "call" else "r.id"
    sql = (
        f"SELECT r.run_id, r.graph, r.thread, r.meta, min(s.start_ns), min(s.path), min({_MODEL}), {_CURRENCY}, {_SUMS}"
        f" {_FROM} WHERE {_MADE} AND {_COST} IS NOT NULL{where}"
        f" GROUP BY {one}, {_CURRENCY} ORDER BY sum({_COST}) DESC, {one} LIMIT ?"
    )
    with _reading(path) as db:
        rows = db.execute(sql, [*values, limit]).fetchall()
    found = []
    for run_id, graph, thread, meta, start_ns, node, model, currency, *sums in rows:
        figures = Figures.of(sums, currency)
        found.append(
            {
                **{"run_id": run_id, "graph": graph, "thread": thread, "user": (_json(meta) or {}).get("user")},
                **({"node": node, "model": model} if what == "call" else {}),
                **{"start_ns": start_ns, "calls": figures.calls, "unknown": figures.unknown},
                **{"tokens_in": figures.tokens_in, "tokens_out": figures.tokens_out},
                **{"micro": figures.micro, "currency": currency},
            }
        )
    return found


def savings(path: str | Path, period: Period) -> list[dict[str, Any]]:
    """What each middleware says that it saved: calls, tokens, milliseconds, and micro-units by currency, most first.

    A layer says so with ``saved_tokens``, ``saved_ms`` and ``saved_micro``, or with ``tokens_before`` and
    ``tokens_after``. Tokens that never were sent are worth what the call's own price says for input.
    """
    where, values = period.where()
    sql = (
        f"SELECT s.attributes, s.start_ns {_FROM} WHERE (s.attributes LIKE '%\"saved!_%' ESCAPE '!'"
        f" OR s.attributes LIKE '%\"tokens!_after\"%' ESCAPE '!'){where}"
    )
    found: dict[str, dict[str, Any]] = {}
    with _reading(path) as db:
        currency = _usual_currency(db)
        rates = _InputRates(path)
        for text, start_ns in db.execute(sql, values):
            attributes = _json(text) or {}
            for layer, note in attributes.items():
                saved = _saved(note)
                if saved is None:
                    continue
                if saved["micro"] is None:
                    saved["micro"] = rates.worth(attributes.get("cost"), saved["tokens"], start_ns)
                name = "semantic_cache" if layer == "cache" and note.get("kind") == "semantic" else layer
                row = found.setdefault(
                    name, {"layer": name, "calls": 0, "tokens": 0, "ms": 0.0, "micro": 0, "currency": currency}
                )
                row["calls"] += 1
                for key in ("tokens", "ms", "micro"):
                    row[key] += saved[key]
    return sorted(found.values(), key=lambda row: (-row["micro"], -row["tokens"], row["layer"]))


def _saved(note: Any) -> dict[str, Any] | None:
    """What an annotation says was saved; ``micro`` None where only tokens are known. None: nothing."""
    if not isinstance(note, dict):
        return None
    if note.keys() & {"saved_tokens", "saved_ms", "saved_micro"}:
        return {key: note.get(f"saved_{key}") or 0 for key in ("tokens", "ms")} | {"micro": note.get("saved_micro")}
    before, after = note.get("tokens_before"), note.get("tokens_after")
    if isinstance(before, int) and isinstance(after, int) and before > after:
        return {"tokens": before - after, "ms": 0, "micro": None}
    return None


class _InputRates:
    """What input tokens cost by the very version of a price book that a call names."""

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._view: View | None = None
        self._books: dict[str, PriceBook | None] = {}

    def worth(self, cost: Any, tokens: int, start_ns: int) -> int:
        """Micro-units; 0 where the call has no price, or one in another currency than its cost."""
        if not isinstance(cost, dict) or not cost.get("price") or not cost.get("model"):
            return 0
        book = self._book(str(cost["price"]))
        if book is None or book.currency != cost.get("currency"):
            return 0
        at = datetime.fromtimestamp(start_ns / 1e9, ZoneInfo("UTC"))
        entry = next((e for e in book.models if e["model"] == cost["model"]), None)
        price = book.find(str(cost["model"]), (entry or {}).get("provider"), at=at)
        try:
            return 0 if price is None else cost_micro({"input": price.rates.get("input", 0)}, Usage(input=tokens))
        except Unpriced:
            return 0

    def _book(self, ref: str) -> PriceBook | None:
        if ref not in self._books:
            name, _, number = ref.rpartition("@")
            try:
                self._view = self._view or Registry(self._path, KIND).look()
                version = self._view.entries[name].versions[int(number)]
                self._books[ref] = PriceBook(name, version.version, version.value())
            except (ChainopsError, KeyError, ValueError):
                self._books[ref] = None
        return self._books[ref]


def _usual_currency(db: sqlite3.Connection) -> str:
    sql = f"SELECT {_CURRENCY} AS c, count(*) FROM span s WHERE c != '' GROUP BY 1 ORDER BY 2 DESC LIMIT 1"  # noqa: S608
    row = db.execute(sql).fetchone()
    return str(row[0]) if row is not None else ""


K = TypeVar("K")


def _joined(found: Mapping[tuple[K, str], Figures]) -> Iterable[tuple[K, Figures]]:
    """Calls without a known cost beside those of the same kind that have one, where these have one currency."""
    priced: dict[K, list[str]] = {}
    for key, currency in found:
        if currency:
            priced.setdefault(key, []).append(currency)
    for (key, currency), figures in found.items():
        if currency and len(priced[key]) == 1 and (key, "") in found:
            yield key, figures.plus(found[key, ""])
        elif currency or len(priced.get(key, ())) != 1:
            yield key, figures


@contextmanager
def _reading(path: str | Path) -> Iterator[sqlite3.Connection]:
    db = open_reader(path)
    db.row_factory = None
    try:
        yield db
    except sqlite3.Error as error:
        raise explain(error, path) from error
    finally:
        db.close()


def _json(text: str | None) -> Any:
    try:
        return None if text is None else orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
