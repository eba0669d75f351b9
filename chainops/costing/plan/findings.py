"""What is wrong with figures that somebody printed, and why, where that can be told."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

from chainops.costing.plan.file import Corpus, Line
from chainops.costing.plan.number import Printed, printed, shown

__all__ = ["check_corpus", "check_line", "check_total"]

NEAR = Fraction(1, 100)
"""Lines whose corpora differ by no more than this share are taken to mean the same."""


class _Row(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def cost(self) -> Fraction: ...
    @property
    def unit(self) -> Fraction | None: ...
    @property
    def calls(self) -> Fraction | None: ...
    @property
    def printed(self) -> str | None: ...


def check_line(line: Line, cost: Fraction, unit: Fraction | None, calls: Fraction) -> list[str]:
    """A printed cost that is not the true one, and a printed unit that must not be multiplied."""
    found = []
    if line.printed is not None and not (told := printed(line.printed)).agrees(cost):
        found.append(f"{told.text} was printed, {shown(cost, 2)} is true")
    if line.printed_unit is not None and unit is not None:
        one = printed(line.printed_unit)
        if not one.agrees(unit):
            found.append(f"{one.text} was printed for one call, {shown(unit)} is true")
        elif abs(one.value * calls * line.times - cost) > Fraction(1, 2):
            found.append(
                f"{one.text} for one call is rounded: times {shown(calls)} it would make "
                f"{shown(one.value * calls * line.times, 2)} instead of {shown(cost, 2)}"
            )
    return found


def check_corpus(name: str, corpus: Corpus, covers: Fraction, cost: Fraction, currency: str) -> list[str]:
    """A line that works on another amount of text than the corpus has, of which it speaks."""
    whole = corpus.documents * corpus.tokens_each
    if not covers or abs(covers - whole) <= whole * NEAR:
        return []
    factor = whole / covers
    return [
        f"it implies {_count(covers)} tokens = {_count(covers / corpus.tokens_each)} documents; the corpus {name!r} "
        f"has {_count(whole)} tokens in {_count(corpus.documents)} documents, {float(factor):.3g} times as many: "
        f"for all of them it would be {shown(cost * factor, 2)} {currency}"
    ]


def check_total(told: Printed, total: Fraction, lines: Sequence[_Row]) -> list[str]:
    """A printed total that is not the sum of the lines, with what explains the difference."""
    if told.agrees(total):
        return []
    said = f"{told.text} was printed as the total, the lines make {shown(total, 2)}"
    more = told.value - total
    # rows that were given rounded may each be wrong by half a cent
    slack = told.slack + sum((Fraction(1, 200) for row in lines if row.unit is None), Fraction(0))
    for row in lines:
        unit = row.unit if row.unit is not None else (row.cost / row.calls if row.calls else None)
        if unit and row.calls != 1 and abs(more - unit) <= slack and unit > slack / 2:
            one = f"the price of one call in {row.name!r} ({shown(_short(unit))})"
            return [f"{said}: it looks as if {one} had been added up with them"]
    for row in lines:
        if abs(more - row.cost) <= told.slack:
            return [f"{said}: it looks as if {row.name!r} ({shown(row.cost, 2)}) were in it twice"]
        if abs(more + row.cost) <= told.slack:
            return [f"{said}: it looks as if {row.name!r} ({shown(row.cost, 2)}) were missing"]
    return [f"{said}, {shown(abs(more), 2)} {'less' if more > 0 else 'more'}"]


def _count(value: Fraction) -> str:
    return f"{round(value):,}"


def _short(value: Fraction) -> Fraction:
    return Fraction(round(value * 10**6), 10**6)
