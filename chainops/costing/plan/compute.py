"""From a plan to exact figures. One call's price is never rounded, and never a line: so no sum can contain it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from chainops.costing.plan.file import Line, Plan, PlanPrice
from chainops.costing.plan.findings import check_corpus, check_line, check_total
from chainops.costing.plan.number import printed
from chainops.errors import SetupError

__all__ = ["EvenPoint", "Fit", "LineResult", "PlanResult", "compute"]

GIB = 2**30
Resolve = Callable[[str], tuple[Fraction, Fraction]]
"""A model's price for one input and one output token, by its name in the price books."""


@dataclass(frozen=True, slots=True)
class LineResult:
    """One line, exact.

    Args:
        calls, unit: how many, and what one costs; None for lines that are not made of calls.
        tokens_in, tokens_out: of all calls. covers: tokens of the corpus that it works on, None where nothing says.
        cost: of the line. printed: what somebody else said. findings: what is wrong with that.
    """

    name: str
    cost: Fraction
    calls: Fraction | None = None
    unit: Fraction | None = None
    tokens_in: Fraction = Fraction(0)
    tokens_out: Fraction = Fraction(0)
    covers: Fraction | None = None
    corpus: str | None = None
    printed: str | None = None
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a model fits into the memory of its GPUs."""

    gb: Fraction
    gib: Fraction
    has_gib: Fraction
    gpus: int
    needed: int
    findings: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """True where it does."""
        return self.gib <= self.has_gib


@dataclass(frozen=True, slots=True)
class EvenPoint:
    """From ``calls`` on hosting is cheaper; ``unit`` is the price of one call."""

    host: str
    calls: int
    unit: Fraction


@dataclass(frozen=True, slots=True)
class PlanResult:
    """All of it. ``findings`` are those on the total and between lines; lines and memory have their own."""

    title: str
    currency: str
    lines: tuple[LineResult, ...]
    total: Fraction
    printed: str | None
    findings: tuple[str, ...]
    memory: Fit | None
    break_even: EvenPoint | None

    @property
    def warnings(self) -> list[str]:
        """Everything that is wrong, in the order of the plan."""
        own = [f"{line.name}: {finding}" for line in self.lines for finding in line.findings]
        return [*own, *(self.memory.findings if self.memory is not None else ()), *self.findings]


def compute(plan: Plan, resolve: Resolve | None = None) -> PlanResult:
    """The figures of a plan.

    Args:
        resolve: where prices that only name a model come from.

    Raises:
        SetupError: a price names a model that nobody knows (``cost.plan``).
    """
    prices = {name: _rates(price, resolve) for name, price in plan.prices.items()}
    lines: dict[str, LineResult] = {}
    for line in plan.lines:
        lines[line.name] = _line(line, plan, prices, lines)
    results = tuple(lines.values())
    total = sum((line.cost for line in results), Fraction(0))
    told = printed(plan.printed) if plan.printed is not None else None
    return PlanResult(
        title=plan.title,
        currency=plan.currency,
        lines=results,
        total=total,
        printed=plan.printed,
        findings=tuple(check_total(told, total, results) if told is not None else ()),
        memory=_memory(plan),
        break_even=_even(plan, prices, lines),
    )


def _line(
    line: Line, plan: Plan, prices: Mapping[str, tuple[Fraction, Fraction]], before: Mapping[str, LineResult]
) -> LineResult:
    corpus = plan.corpora.get(line.corpus or "")
    one_in = line.input if line.input is not None else (corpus.tokens_each if corpus is not None else Fraction(0))
    one_out = line.output or Fraction(0)
    unit = None
    if line.price is not None:
        rate_in, rate_out = prices[line.price]
        unit = one_in * rate_in + one_out * rate_out
    calls = line.calls if line.calls is not None else (corpus.documents if corpus is not None else Fraction(1))
    tokens_in = tokens_out = Fraction(0)
    covers = line.tokens
    if line.of is not None:
        other = before[line.of]
        calls, unit = other.calls or Fraction(0), None if other.unit is None else other.unit * line.share
        part = line.share * line.times
        cost, tokens_in, tokens_out = other.cost * part, other.tokens_in * part, other.tokens_out * part
    elif line.hours is not None:
        cost, unit = line.hours * (line.rate or 0) * line.units * line.times, None
        tokens_in = covers or Fraction(0)
    elif line.amount is not None:
        cost = line.amount * line.times
        if unit and covers is None:
            covers = line.amount / unit * one_in
        tokens_in = (covers or Fraction(0)) * line.times
        unit = None
    else:
        assert unit is not None
        cost = unit * calls * line.times
        tokens_in, tokens_out = one_in * calls * line.times, one_out * calls * line.times
        if covers is None and corpus is not None:
            covers = one_in * calls
    findings = check_line(line, cost, unit, calls)
    if corpus is not None and covers is not None:
        findings += check_corpus(line.corpus or "", corpus, covers, cost, plan.currency)
    return LineResult(
        name=line.name,
        cost=cost,
        calls=calls if unit is not None else line.calls,
        unit=unit,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        covers=covers,
        corpus=line.corpus,
        printed=line.printed,
        findings=tuple(findings),
    )


def _rates(price: PlanPrice, resolve: Resolve | None) -> tuple[Fraction, Fraction]:
    if price.model is None:
        return price.input / price.per, price.output / price.per
    if resolve is None:
        raise SetupError(
            f"The plan asks the price books for {price.model!r}", hint="Give the database.", code="cost.plan"
        )
    return resolve(price.model)


def _memory(plan: Plan) -> Fit | None:
    asked = plan.memory
    if asked is None:
        return None
    size = asked.parameters * asked.bytes
    gib = size / GIB + asked.cache_gib
    has = asked.gpu_gib * asked.gpus
    needed = math.ceil(gib / asked.gpu_gib)
    findings = []
    if gib > has:
        findings.append(
            f"memory: {float(gib):.1f} GiB do not fit into {asked.gpus} x {float(asked.gpu_gib):g} GiB; "
            f"{needed} are needed"
        )
    told = printed(asked.printed) if asked.printed is not None else None
    if told is not None and not told.agrees(size / 10**9) and not told.agrees(gib):
        findings.append(f"memory: {told.text} was printed, {float(size / 10**9):.1f} GB is true")
    return Fit(size / 10**9, gib, has, asked.gpus, needed, tuple(findings))


def _even(
    plan: Plan, prices: Mapping[str, tuple[Fraction, Fraction]], lines: Mapping[str, LineResult]
) -> EvenPoint | None:
    asked = plan.break_even
    if asked is None:
        return None
    if asked.api in lines and lines[asked.api].unit is not None:
        unit = lines[asked.api].unit
    else:
        rate_in, rate_out = prices.get(asked.api, (Fraction(0), Fraction(0)))
        unit = (asked.input or Fraction(0)) * rate_in + (asked.output or Fraction(0)) * rate_out
    if not unit:
        raise SetupError(
            f"break_even: one call of {asked.api!r} has no price",
            hint="Name a line with a price, or a price with input and output tokens.",
            code="cost.plan",
        )
    return EvenPoint(asked.host, math.ceil(lines[asked.host].cost / unit), unit)
