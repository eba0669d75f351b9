"""A price book: which model costs what, from when, in which currency, and who says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

from chainops.costing.match import equal_names, matches
from chainops.costing.money import check_currency
from chainops.costing.rates import OTHER_KEYS, TOKEN_KEYS
from chainops.errors import SetupError

__all__ = ["Price", "PriceBook", "check_book", "moment"]

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs at some moment.

    Args:
        ref: the version of the book, ``"genai-prices@3"``.
        model: the model's name in the book. provider: who sells it; "" for own ones.
        currency: ISO 4217. source: who says so. since: from when, as the book has it; "" where it always held.
        rates: micro-units by what is paid for, see :func:`~chainops.costing.cost_micro`.
    """

    ref: str
    model: str
    provider: str
    currency: str
    source: str
    since: str
    rates: Mapping[str, Any]


class PriceBook:
    """The content of one version, ready to be asked. Never changes."""

    def __init__(self, name: str, version: int, content: Mapping[str, Any]) -> None:
        self.ref = f"{name}@{version}"
        self.currency: str = content["currency"]
        self.source: str = content["source"]
        self.effective_from = moment(content["effective_from"])
        self.models: Sequence[Entry] = content["models"]
        self._sellers = {row["id"]: row for row in content.get("providers", ())}
        self._by_name: dict[tuple[str, str], Entry] = {}
        self._others: dict[str, list[Entry]] = {}
        for entry in self.models:
            seller, clause = entry.get("provider", ""), entry.get("match") or {"equals": entry["model"]}
            for name_ in equal_names(clause):
                self._by_name.setdefault((seller, name_), entry)
            if set(clause) != {"equals"}:
                self._others.setdefault(seller, []).append(entry)

    def find(
        self, model: str, provider: str | None = None, *, at: datetime, context: Mapping[str, str] | None = None
    ) -> Price | None:
        """The price that holds at a moment, or None.

        Args:
            provider: who answered, or the address of the server; None: whoever's models have such names; "": only
                what names no provider.
            context: for example ``{"service_tier": "flex"}``.
        """
        name = model.lower()
        for seller in self._sellers_of(name, provider):
            entry = self._entry(seller, name)
            if entry is not None:
                return self._price(entry, at, context or {})
        return None

    def _sellers_of(self, name: str, provider: str | None) -> list[str]:
        if provider and "://" in provider:
            # of a server that nobody sells, a list price says nothing, whatever language it speaks
            sold = [id_ for id_, row in self._sellers.items() if "url" in row and matches(row["url"], provider.lower())]
            return ["", *sold]
        if provider:
            return ["", provider, *self._sellers.get(provider, {}).get("also", ())]
        sellers = [""]
        if provider is None:
            sellers += [id_ for id_, row in self._sellers.items() if "match" in row and matches(row["match"], name)]
        return sellers

    def _entry(self, seller: str, name: str) -> Entry | None:
        found = self._by_name.get((seller, name))
        if found is not None:
            return found
        return next((entry for entry in self._others.get(seller, ()) if matches(entry["match"], name)), None)

    def _price(self, entry: Entry, at: datetime, context: Mapping[str, str]) -> Price | None:
        holds = next((row for row in reversed(entry["prices"]) if _holds(row, at)), None)
        if holds is None:
            return None
        rates = {key: holds[key] for key in (*TOKEN_KEYS, *OTHER_KEYS) if key in holds}
        for variant in entry.get("variants", ()) if context else ():
            if all(context.get(key) == value for key, value in variant["when"].items()):
                rates = {**rates, **variant["rates"]}
                break
        return Price(
            ref=self.ref,
            model=entry["model"],
            provider=entry.get("provider", ""),
            currency=self.currency,
            source=entry.get("source") or self.source,
            since=holds.get("from", ""),
            rates=rates,
        )


def moment(text: object) -> datetime:
    """A date (its midnight) or a time of ISO 8601; UTC unless it says otherwise.

    Raises:
        SetupError: anything else (``cost.date``).
    """
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        raise SetupError(
            f"{text!r} is no date", hint="Write 2026-11-21, or 2026-11-21T13:20:00+00:00.", code="cost.date"
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _holds(row: Mapping[str, Any], at: datetime) -> bool:
    if "from" in row and at < moment(row["from"]):
        return False
    if "daily" in row:
        begin, end = (time.fromisoformat(text) for text in row["daily"])
        now = at.astimezone(UTC).time()
        return begin <= now < end if begin <= end else now >= begin or now < end
    return True


def check_book(content: Any) -> dict[str, Any]:
    """``content`` where it is a price book.

    Raises:
        SetupError: it is not; all mistakes are named (``cost.book``).
    """
    wrong: list[str] = []
    if not isinstance(content, dict) or not isinstance(content.get("models"), list):
        raise _bad(["it has no list of models"])
    for key, check in (("currency", check_currency), ("effective_from", moment)):
        try:
            check(content.get(key))
        except SetupError as error:
            wrong.append(f"{key}: {error.message}")
    if not isinstance(content.get("source"), str) or not content["source"].strip():
        wrong.append("source: say who names these prices")
    for position, entry in enumerate(content["models"], 1):
        wrong += [f"model {position}: {problem}" for problem in _entry_mistakes(entry)]
    if wrong:
        raise _bad(wrong)
    return content


def _entry_mistakes(entry: Any) -> list[str]:
    if not isinstance(entry, dict) or not isinstance(entry.get("model"), str) or not entry["model"]:
        return ["it has no name (model)"]
    name = entry["model"]
    unknown = sorted(entry.keys() - {"model", "provider", "match", "prices", "variants", "source"})
    wrong = [f"{name} has {', '.join(unknown)}, which no price book has"] if unknown else []
    rows = entry.get("prices")
    if not isinstance(rows, list) or not rows:
        return [*wrong, f"{name} has no prices"]
    return wrong + [f"{name}: {problem}" for row in rows for problem in _row_mistakes(row)]


def _row_mistakes(row: Any) -> list[str]:
    if not isinstance(row, dict):
        return [f"{row!r} is no price"]
    wrong = []
    for key, value in row.items():
        if key == "from":
            try:
                moment(value)
            except SetupError as error:
                wrong.append(error.message)
        elif key in TOKEN_KEYS:
            if not (_whole(value) or _tiers(value)):
                wrong.append(f"{key} is {value!r}, no whole number of micro-units per million tokens")
        elif key in OTHER_KEYS:
            if not _whole(value) or (key == "slots" and value < 1):
                wrong.append(f"{key} is {value!r}, no whole number")
        elif key != "daily":
            wrong.append(f"{key} is nothing that is paid for")
    if not row.keys() & {*TOKEN_KEYS, "thousand_calls", "hour", "kwh"}:
        wrong.append("a price names nothing that is paid for")
    if "kwh" in row and not row.get("watts"):
        wrong.append("a price per kWh needs watts")
    return wrong


def _whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _tiers(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != {"base", "over"} or not _whole(value["base"]):
        return False
    return isinstance(value["over"], list) and all(
        isinstance(step, list) and len(step) == 2 and all(map(_whole, step)) for step in value["over"]
    )


def _bad(mistakes: list[str]) -> SetupError:
    shown = "; ".join(mistakes[:10]) + (f"; and {len(mistakes) - 10} more" if len(mistakes) > 10 else "")
    return SetupError(f"This is no price book: {shown}", hint="See reference/costs.md for the form.", code="cost.book")
