"""Exact numbers: fractions inside, decimals for people."""

from __future__ import annotations

import re
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Annotated, Any

from pydantic import BeforeValidator

__all__ = ["Number", "Printed", "exact", "printed", "shown"]

PLACES = 12


def _number(value: Any) -> Fraction:
    """``58200``, ``"1562.5"``, ``"5e6"``, ``"40000/3"`` or a float as it is written."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal | Fraction):
        raise ValueError("no number")
    try:
        found = value if isinstance(value, Fraction) else Fraction(str(value).replace("_", ""))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{value!r} is no number") from None
    if found < 0:
        raise ValueError(f"{value!r} is below 0")
    return found


Number = Annotated[Fraction, BeforeValidator(_number)]


def exact(value: Fraction) -> Decimal:
    """The whole value where it has an end in decimals, else rounded to twelve places."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    with localcontext() as context:
        context.prec = 60
        found = Decimal(value.numerator) / Decimal(value.denominator)
        if rest != 1:
            found = round(found, PLACES)
        return found.normalize() if found != found.to_integral_value() else found.quantize(Decimal(1))


def shown(value: Fraction, least: int = 0) -> str:
    """For people: thousands apart, at least so many decimals, at most twelve; what has no end ends in "…"."""
    found = exact(value)
    text = f"{found:,f}"
    whole, _, rest = text.partition(".")
    rest = rest.ljust(least, "0")
    end = "…" if Fraction(found) != value else ""
    return (f"{whole}.{rest}" if rest else whole) + end


class Printed:
    """A figure that somebody printed, and how far the true one may be from it: half of its last digit that is not 0,
    and as much again where it says "about".
    """

    __slots__ = ("slack", "text", "value")

    def __init__(self, text: str, value: Fraction, slack: Fraction) -> None:
        self.text, self.value, self.slack = text, value, slack

    def agrees(self, true: Fraction, more: Fraction = Fraction(0)) -> bool:
        """True where it is ``true``, rounded."""
        return abs(self.value - true) <= self.slack + more


def printed(text: str) -> Printed:
    """From "6,729.38", "~8500", "approx. $14K" ...

    Raises:
        ValueError: there is no number in it.
    """
    found = re.search(r"(\d[\d,]*)(?:\.(\d+))?\s*([kKmM])?", text)
    if found is None:
        raise ValueError(f"{text!r} has no number")
    whole, decimals = found[1].replace(",", ""), found[2] or ""
    unit = {"k": 1000, "m": 1_000_000}.get((found[3] or "").lower(), 1)
    value = Fraction(f"{whole}.{decimals or 0}") * unit
    if decimals:
        step = Fraction(unit, 10 ** len(decimals))
    else:
        zeros = len(whole) - len(whole.rstrip("0")) if whole.strip("0") else 0
        step = Fraction(unit * 10**zeros)
    about = 2 if re.match(r"\s*(~|≈|about|approx|ca)", text, re.IGNORECASE) else 1
    return Printed(text, value, step / 2 * about)
