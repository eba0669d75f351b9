"""Money as whole micro-units of a currency (1 USD = 1,000,000): integers add up exactly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from chainops.errors import SetupError

__all__ = ["UNIT", "Exchange", "amount", "check_currency", "decimal_of", "micro_of"]

UNIT = 1_000_000
"""Micro-units in one unit of a currency."""


def decimal_of(value: object, what: str) -> Decimal:
    """A number from settings, files and options as an exact Decimal: text, int, or a float as it is written.

    Raises:
        SetupError: it is no finite number of at least 0 (``cost.amount``).
    """
    try:
        found = Decimal(str(value).replace("_", ""))
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or found < 0 or isinstance(value, bool):
        raise SetupError(f"{what} is {value!r}, no amount", hint="Write for example 0.15.", code="cost.amount")
    return found


def micro_of(value: object, what: str = "The amount") -> int:
    """``"0.15"`` units as 150,000 micro-units.

    Raises:
        SetupError: no number of at least 0, or finer than a micro-unit (``cost.amount``).
    """
    micro = decimal_of(value, what) * UNIT
    if micro != micro.to_integral_value() or micro >= 2**63:
        raise SetupError(
            f"{what} is {value!r}, which is no whole number of millionths",
            hint="Give at most six decimals; prices of tokens are per million tokens.",
            code="cost.amount",
        )
    return int(micro)


def amount(micro: int, currency: str = "") -> str:
    """For people: two decimals, more where the rest is not zero. ``amount(1_500, "USD")`` is ``"0.0015 USD"``."""
    text = f"{Decimal(micro) / UNIT:,.6f}".rstrip("0")
    whole, _, rest = text.partition(".")
    return f"{whole}.{rest:0<2} {currency}".rstrip()


def check_currency(code: object) -> str:
    """An ISO 4217 code, in capitals.

    Raises:
        SetupError: anything else (``cost.currency``).
    """
    if not isinstance(code, str) or not re.fullmatch(r"[A-Z]{3}", code):
        raise SetupError(
            f"{code!r} is no code of a currency", hint="Use three capitals: USD, EUR, INR.", code="cost.currency"
        )
    return code


class Exchange:
    """Turns amounts into one currency, at fixed rates: what one unit of each other is worth in it.

    Raises:
        SetupError: a code or rate that is none.
    """

    def __init__(self, currency: str, rates: Mapping[str, object]) -> None:
        self.currency = check_currency(currency)
        self.rates = {check_currency(code): decimal_of(rate, f"rates.{code}") for code, rate in rates.items()}

    def micro(self, micro: int, currency: str) -> int | None:
        """Micro-units of ``currency`` in those of ours, or None without a rate."""
        if currency == self.currency:
            return micro
        rate = self.rates.get(currency)
        return None if rate is None else int((micro * rate).to_integral_value())
