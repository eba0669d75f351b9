"""Prices of hosted models from the snapshot inside the package genai-prices (MIT). Nothing is fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from chainops.costing import UNIT

__all__ = ["SNAPSHOT", "snapshot"]

SNAPSHOT = "genai-prices"
"""Name of the book."""

_KEYS = {
    "input_mtok": "input",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "input_audio",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "output_audio",
    "requests_kcount": "thousand_calls",
}


def snapshot(today: datetime | None = None) -> dict[str, Any]:
    """The content of a price book. Models whose prices count nothing that a chat model reports are left out."""
    from genai_prices.data import providers as found

    day = (today or datetime.now(UTC)).date().isoformat()
    return {
        "currency": "USD",
        "source": f"genai-prices {version('genai-prices')} (MIT)",
        "effective_from": day,
        "providers": [_provider(provider) for provider in found],
        "models": [entry for provider in found for entry in _entries(provider)],
    }


def _provider(provider: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"id": provider.id, "url": {"regex": f"^(?:{provider.api_pattern})"}}
    if provider.model_match is not None:
        found["match"] = _clause(provider.model_match)
    if provider.fallback_model_providers:
        found["also"] = list(provider.fallback_model_providers)
    return found


def _entries(provider: Any) -> Iterable[dict[str, Any]]:
    source = (provider.pricing_urls or [""])[0]
    for model in provider.models:
        rows = [row for row in map(_row, _conditions(model.prices)) if row]
        if not rows:
            continue
        entry = {"model": model.id, "provider": provider.id, "match": _clause(model.match), "prices": rows}
        variants = [
            {"when": dict(variant.when), "rates": rates}
            for variant in model.price_variants or ()
            if variant.constraint is None and (rates := _rates(variant.prices))
        ]
        yield {
            **entry,
            **({"variants": variants} if variants else {}),
            **({"source": source} if source else {}),
        }


def _conditions(prices: Any) -> list[tuple[Any, Any]]:
    if isinstance(prices, list):
        return [(each.constraint, each.prices) for each in prices]
    return [(None, prices)]


def _row(condition: tuple[Any, Any]) -> dict[str, Any]:
    constraint, prices = condition
    rates = _rates(prices)
    if not rates or constraint is None:
        return rates
    if hasattr(constraint, "start_date"):
        return {"from": constraint.start_date.isoformat(), **rates}
    return {"daily": [_clock(constraint.start_time), _clock(constraint.end_time)], **rates}


def _clock(at: Any) -> str:
    """A time of day in UTC."""
    if at.tzinfo is not None:
        at = datetime.combine(datetime(2000, 1, 1), at).astimezone(UTC).timetz()
    return str(at.replace(tzinfo=None).isoformat("minutes"))


def _rates(prices: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for theirs, ours in _KEYS.items():
        price = getattr(prices, theirs)
        if price is None:
            continue
        if hasattr(price, "tiers"):
            found[ours] = {
                "base": _micro(price.base),
                "over": [[tier.start, _micro(tier.price)] for tier in price.tiers],
            }
        else:
            found[ours] = _micro(price)
    return found


def _micro(price: Decimal) -> int:
    return round(price * UNIT)


def _clause(clause: Any) -> dict[str, Any]:
    fields: Mapping[str, Any] = vars(clause)
    ((name, value),) = fields.items()
    if isinstance(value, list):
        return {name.rstrip("_"): [_clause(inner) for inner in value]}
    return {name: value}
