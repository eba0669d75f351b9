"""From what a call used to what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chainops.costing.money import UNIT

__all__ = ["OTHER_KEYS", "TOKEN_KEYS", "Unpriced", "Usage", "cost_micro"]

TOKEN_KEYS = (
    *("input", "cached_input", "cache_write", "cache_write_1h", "input_audio"),
    *("output", "reasoning", "output_audio"),
)
"""Rates in micro-units per million tokens: a whole number, or ``{"base": n, "over": [[tokens, n], ...]}`` where more
input tokens than that change the rate of all."""
OTHER_KEYS = ("thousand_calls", "hour", "kwh", "watts", "slots")
"""Rates in micro-units per 1,000 calls, per hour, per kWh at so many watts; ``slots`` calls share the machine."""

_US_PER_HOUR = 3_600_000_000


class Unpriced(Exception):
    """What was used has no price. The text says why; it is not zero."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. ``input`` and ``output`` are all of them; the others are parts of these.

    Args:
        cached: read from the provider's cache. written, written_1h: written into it, for minutes or for an hour.
        reasoning: written, but not shown.
        input_audio, output_audio: audio.
    """

    input: int = 0
    output: int = 0
    cached: int = 0
    written: int = 0
    written_1h: int = 0
    input_audio: int = 0
    reasoning: int = 0
    output_audio: int = 0

    @classmethod
    def of(cls, message: Any) -> Usage | None:
        """What a LangChain message reports, or None."""
        told = getattr(message, "usage_metadata", None)
        if not told:
            return None
        read, wrote = told.get("input_token_details") or {}, told.get("output_token_details") or {}
        hour = _count(read, "ephemeral_1h_input_tokens")
        written = _count(read, "cache_creation") or _count(read, "ephemeral_5m_input_tokens") + hour
        return cls(
            input=_count(told, "input_tokens"),
            output=_count(told, "output_tokens"),
            cached=_count(read, "cache_read"),
            written=max(written - hour, 0),
            written_1h=hour,
            input_audio=_count(read, "audio"),
            reasoning=_count(wrote, "reasoning"),
            output_audio=_count(wrote, "audio"),
        )


def cost_micro(rates: Mapping[str, Any], usage: Usage | None, seconds: float = 0.0) -> int:
    """What a call costs, in micro-units, rounded once and half up.

    A kind of token without a rate of its own has the rate of what it is part of. ``seconds`` counts where the rates
    are per hour or per kWh.

    Raises:
        Unpriced: the rates do not cover what was used.
    """
    pico = rates.get("thousand_calls", 0) * 1000
    if "hour" in rates or "kwh" in rates:
        per_1000_hours = rates.get("hour", 0) * 1000 + rates.get("kwh", 0) * rates.get("watts", 0)
        pico += max(round(seconds * 1e6), 0) * per_1000_hours * 1000 // (_US_PER_HOUR * rates.get("slots", 1))
    if any(key in rates for key in TOKEN_KEYS):
        if usage is None:
            raise Unpriced("the model reported no usage")
        pico += _tokens(rates, usage)
    return int((pico + UNIT // 2) // UNIT)


def _tokens(rates: Mapping[str, Any], usage: Usage) -> int:
    parts_in = {
        "cached_input": usage.cached,
        "cache_write": usage.written,
        "cache_write_1h": usage.written_1h,
        "input_audio": usage.input_audio,
    }
    parts_out = {"reasoning": usage.reasoning, "output_audio": usage.output_audio}
    return _side(rates, "input", usage.input, parts_in, usage.input) + _side(
        rates, "output", usage.output, parts_out, usage.input
    )


def _side(rates: Mapping[str, Any], key: str, total: int, parts: Mapping[str, int], size: int) -> int:
    """Micro-units times a million for the tokens of one direction."""
    pico, rest = 0, total
    for name, count in parts.items():
        rate = rates.get(name, rates.get("cache_write") if name == "cache_write_1h" else None)
        if rate is not None and count:
            count = min(count, rest)  # parts that overlap are not paid for twice
            pico += count * _at(rate, size)
            rest -= count
    if rest:
        if key not in rates:
            raise Unpriced(f"the price names none for {key} tokens")
        pico += rest * _at(rates[key], size)
    return pico


def _at(rate: Any, size: int) -> int:
    if isinstance(rate, int):
        return rate
    found = rate["base"]
    for start, more in rate["over"]:
        if size > start:
            found = more
    return int(found)


def _count(told: Mapping[str, Any], name: str) -> int:
    value = told.get(name)
    return value if isinstance(value, int) and value > 0 else 0
