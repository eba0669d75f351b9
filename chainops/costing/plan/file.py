"""The plan as a person writes it."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from chainops.costing.plan.number import Number, printed
from chainops.errors import SetupError

__all__ = ["BreakEven", "Corpus", "Line", "Memory", "Plan", "PlanPrice", "read_plan", "shipped_plans"]


def _is_printed(text: str) -> str:
    printed(text)
    return text


PrintedText = Annotated[str, AfterValidator(_is_printed)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Corpus(_Table):
    """What is worked on. Tokens, or words with ``tokens_per_word``, are those of one document."""

    documents: Number
    tokens: Number | None = None
    words: Number | None = None
    tokens_per_word: Number = Fraction(4, 3)

    @model_validator(mode="after")
    def _sized(self) -> Self:
        if (self.tokens is None) == (self.words is None):
            raise ValueError("give tokens or words of one document")
        return self

    @property
    def tokens_each(self) -> Fraction:
        """Tokens of one document."""
        return self.tokens if self.tokens is not None else (self.words or Fraction(0)) * self.tokens_per_word


class PlanPrice(_Table):
    """Amounts for ``per`` tokens; or ``model``, whose price stands in the price books."""

    input: Number = Fraction(0)
    output: Number = Fraction(0)
    per: Number = Field(default=Fraction(1_000_000))
    model: str | None = None


class Line(_Table):
    """One line of a plan: calls of a model; or hours of machines; or an amount; or a share of another line.

    Args:
        price, input, output: a price, and the tokens of one call; without ``input`` those of the corpus.
        calls: how many; the documents of the corpus unless given.
        hours, rate, units: hours of so many machines, at so much each.
        amount: what somebody else says it costs. With a price, what that implies is checked.
        of, share: a part, or a multiple, of the line of that name.
        times: how often, for all of these.
        corpus: what it is done with. tokens: of the corpus, as far as the line covers it.
        printed, printed_unit: what somebody else printed for the line, and for one call.
    """

    name: str
    price: str | None = None
    input: Number | None = None
    output: Number | None = None
    calls: Number | None = None
    hours: Number | None = None
    rate: Number | None = None
    units: Number = Fraction(1)
    amount: Number | None = None
    of: str | None = None
    share: Number = Fraction(1)
    times: Number = Fraction(1)
    corpus: str | None = None
    tokens: Number | None = None
    printed: PrintedText | None = None
    printed_unit: PrintedText | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [self.amount is not None, self.hours is not None, self.of is not None]
        if sum(kinds) > 1 or (not any(kinds) and self.price is None):
            raise ValueError("a line is a price with tokens, hours with a rate, an amount, or part `of` another line")
        if (self.hours is None) != (self.rate is None):
            raise ValueError("hours need a rate, and a rate needs hours")
        return self


class Memory(_Table):
    """Whether a model fits: ``bytes`` for each parameter, and GiB for caches, on ``gpus`` with so many GiB each."""

    parameters: Number
    bytes: Number = Fraction(2)
    cache_gib: Number = Fraction(0)
    gpus: int = Field(default=1, ge=1)
    gpu_gib: Number = Fraction(80)
    printed: PrintedText | None = None


class BreakEven(_Table):
    """From how many calls on the line ``host`` is cheaper than the price of one call in the line ``api``; or of one
    with so many tokens at the price of that name.
    """

    host: str
    api: str
    input: Number | None = None
    output: Number | None = None


class Plan(_Table):
    """A plan. ``printed``: what somebody else printed as the total."""

    title: str
    currency: str = Field(default="USD", pattern="^[A-Z]{3}$")
    source: str = ""
    printed: PrintedText | None = None
    corpora: dict[str, Corpus] = Field(default_factory=dict)
    prices: dict[str, PlanPrice] = Field(default_factory=dict)
    lines: tuple[Line, ...] = Field(min_length=1)
    memory: Memory | None = None
    break_even: BreakEven | None = None

    @model_validator(mode="after")
    def _names(self) -> Self:
        seen: set[str] = set()
        for line in self.lines:
            if line.name in seen:
                raise ValueError(f"two lines are called {line.name!r}")
            for what, name, known in (("price", line.price, self.prices), ("corpus", line.corpus, self.corpora)):
                if name is not None and name not in known:
                    raise ValueError(f"{line.name}: there is no {what} {name!r}")
            if line.of is not None and line.of not in seen:
                raise ValueError(f"{line.name}: there is no line {line.of!r} before it")
            seen.add(line.name)
        even = self.break_even
        if even is not None and (even.host not in seen or even.api not in {*seen, *self.prices}):
            raise ValueError("break_even names a line that is not there")
        return self


def read_plan(source: str | Path) -> Plan:
    """The plan in a file, or a shipped one by its name.

    Raises:
        SetupError: it cannot be read, or is none; all mistakes are named (``cost.plan``).
    """
    text = shipped_plans().get(str(source))
    try:
        if text is None:
            text = Path(source).read_text(encoding="utf-8-sig")
        return Plan.model_validate(tomllib.loads(text, parse_float=Decimal))
    except ValidationError as error:
        told = [f"{_place(problem['loc'])}{problem['msg'].removeprefix('Value error, ')}" for problem in error.errors()]
        raise _bad(f"{source} is no plan: {'; '.join(told)}") from None
    except (OSError, ValueError) as error:
        raise _bad(f"Cannot read the plan {source}: {error}") from None


def shipped_plans() -> dict[str, str]:
    """The texts of the plans that come with chainops, by name."""
    folder = files(__package__) / "shipped"
    found = {each.name.removesuffix(".toml"): each for each in folder.iterdir() if each.name.endswith(".toml")}
    return {name: found[name].read_text(encoding="utf-8") for name in sorted(found)}


def _place(loc: tuple[Any, ...]) -> str:
    return f"{'.'.join(str(part) for part in loc)}: " if loc else ""


def _bad(message: str) -> SetupError:
    return SetupError(message, hint="chainops cost plan lists examples; --show prints one.", code="cost.plan")
