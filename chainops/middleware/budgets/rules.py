"""What a budget is: whose, for how long, and how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

import orjson

from chainops.costing import micro_of
from chainops.errors import ChainopsError, SetupError

__all__ = ["Budget", "Period", "Whose", "budget_of", "span_of"]

Whose = Literal["user", "tenant", "chain"]
Period = Literal["day", "month", "year"]


@dataclass(frozen=True, slots=True)
class Budget:
    """One budget. Amounts are micro-units.

    Args:
        per: what is counted apart; nothing: all calls together. ``chain`` is the graph's name.
        period: a day, month or year of the calendar.
        hard: what nobody passes. soft: from here on calls go the cheap way.
        match: globs that user, tenant or chain must fit.
        low_share: share of both limits that calls of low priority (below 0) may use.
    """

    per: tuple[Whose, ...] = ()
    period: Period = "month"
    hard: int | None = None
    soft: int | None = None
    match: Mapping[Whose, str] = field(default_factory=dict)
    low_share: float = 1.0

    @property
    def scope(self) -> str:
        """What is counted apart, and for how long: "tenant+user/day"."""
        return f"{'+'.join(self.per) or 'all'}/{self.period}"

    def fits(self, whose: Mapping[Whose, str]) -> bool:
        """True where the budget is for this call."""
        return all(fnmatchcase(whose[word], glob) for word, glob in self.match.items())

    def key(self, whose: Mapping[Whose, str]) -> str:
        """For whom it is counted."""
        return orjson.dumps([whose[word] for word in self.per]).decode() if self.per else ""

    def told(self, whose: Mapping[Whose, str]) -> str:
        """For people: ``user 'ann' of tenant 'acme'``."""
        return " of ".join(f"{word} {whose[word]!r}" for word in reversed(self.per)) or "all calls"


def budget_of(table: Budget | Mapping[str, Any]) -> Budget:
    """A budget from a table of settings, with amounts in units of the currency.

    Raises:
        SetupError: something in it is wrong (``setup.budgets``).
    """
    if isinstance(table, Budget):
        return table
    known = {each.name for each in fields(Budget)}
    if unknown := sorted(table.keys() - known):
        raise _wrong(f"A budget has no {', '.join(unknown)}", f"Known: {', '.join(sorted(known))}.")
    values = {key: value for key, value in table.items() if value is not None}
    per = (values["per"],) if isinstance(values.get("per"), str) else tuple(values.get("per", ()))
    match = dict(values.get("match", {}))
    if strange := [word for word in (*per, *match) if word not in get_args(Whose)]:
        raise _wrong(f"A budget is per or for {strange[0]!r}", "Use user, tenant and chain.")
    if values.get("period", "month") not in get_args(Period):
        raise _wrong(f"A budget has the period {values['period']!r}", "Use day, month or year.")
    share = values.get("low_share", 1.0)
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise _wrong(f"low_share is {share!r}", "Use a share between 0 and 1.")
    try:
        limits = {key: micro_of(values[key], key) for key in ("hard", "soft") if key in values}
    except ChainopsError as error:
        raise _wrong(error.message, error.hint) from None
    if not limits or limits.get("soft", 0) > limits.get("hard", 2**63):
        raise _wrong("A budget needs a limit, and its soft one below its hard one", "Give hard, soft or both.")
    return Budget(per=per, period=values.get("period", "month"), match=match, low_share=float(share), **limits)


def span_of(period: Period, now: float, zone: ZoneInfo) -> tuple[str, datetime]:
    """The day, month or year that it is at ``now`` (seconds since 1970): its name, and when the next one begins."""
    local = datetime.fromtimestamp(now, zone)
    first = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if period == "day":
        name, then = f"{local:%Y-%m-%d}", first + timedelta(days=1)
    elif period == "month":
        name = f"{local:%Y-%m}"
        then = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
    else:
        name, then = f"{local:%Y}", first.replace(year=local.year + 1, month=1, day=1)
    return name, then.astimezone(UTC)


def _wrong(message: str, hint: str) -> SetupError:
    return SetupError(message, hint=hint, code="setup.budgets")
