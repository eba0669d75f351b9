"""What a name of a model stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

from chainops.calls import ModelCall
from chainops.errors import SetupError

__all__ = ["Alias", "RouteRule", "Strategy"]

Strategy = Literal["order", "weighted", "least_busy", "fastest", "cheapest"]


@dataclass(frozen=True)
class RouteRule:
    """Calls that go to one tier whatever their difficulty.

    Args:
        to: name of the tier.
        matches: a regular expression that the last message of a person must match somewhere.
        node: glob on the node.
        tools: True: calls that offer tools; False: calls that offer none.
        metadata: values that the metadata of the run must have.
    """

    to: str
    matches: str = ""
    node: str = ""
    tools: bool | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.matches or self.node or self.metadata or self.tools is not None):
            raise SetupError(
                f"A rule to {self.to!r} matches every call",
                hint="Give it `matches`, `node`, `tools` or `metadata`.",
                code="setup.route",
            )
        try:
            re.compile(self.matches)
        except re.error as error:
            raise SetupError(
                f"{self.matches!r} is no regular expression: {error}", hint="Mend the pattern.", code="setup.route"
            ) from error

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(self.matches)

    def applies(self, call: ModelCall, text: str) -> bool:
        """True when every condition holds."""
        return (
            (not self.matches or self._pattern.search(text) is not None)
            and (not self.node or fnmatchcase(call.path, self.node))
            and (self.tools is None or bool(call.params.get("tools")) is self.tools)
            and (not self.metadata or all(call.run.metadata.get(k) == v for k, v in self.metadata.items()))
        )


@dataclass(frozen=True)
class Alias:
    """Either some deployments that can stand in for each other, or tiers from small to large.

    Args:
        name: what nodes ask for.
        deployments: names; which comes first is up to ``strategy``, the others are its fallbacks.
        fallbacks: names of deployments or aliases that come after all of those, in this order.
        strategy: "order": as written · "weighted": by chance, by weight · "least_busy": fewest calls under way, by
            weight · "fastest": the better of two chosen by chance, by predicted latency · "cheapest".
        tiers: names of deployments or aliases, from the small one to the large one, in place of ``deployments``.
        rules: looked at first; the first that applies decides on the tier.
        thresholds: difficulties, 0 to 1, from which the next tier is asked; one fewer than tiers; None: evenly.
        cascade: start with the tier that difficulty says, and go on to the next when the answer is not good enough.
        min_logprob: mean log-probability per token below which an answer is not good enough; None: not looked at.
        min_support: share of an answer's words of content that the messages contain, below which it is not; likewise.
        hedge_after_s: seconds after which the next deployment is asked as well, and the first answer wins.

    Raises:
        SetupError: code ``setup.route``.
    """

    name: str
    deployments: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    strategy: Strategy = "order"
    tiers: tuple[str, ...] = ()
    rules: tuple[RouteRule, ...] = ()
    thresholds: tuple[float, ...] | None = None
    cascade: bool = False
    min_logprob: float | None = None
    min_support: float | None = None
    hedge_after_s: float | None = None

    def __post_init__(self) -> None:
        if bool(self.deployments) == bool(self.tiers):
            raise self._wrong("needs either deployments or tiers", "Give it one of the two.")
        if self.tiers and len(self.tiers) < 2:
            raise self._wrong("has one tier", "Tiers go from a small model to a large one: name two or more.")
        if self.rules and not self.tiers:
            raise self._wrong("has rules but no tiers", "Rules choose among tiers.")
        if unknown := {rule.to for rule in self.rules}.difference(self.tiers):
            raise self._wrong(f"has a rule to {', '.join(sorted(unknown))}", f"One of {', '.join(self.tiers)}.")
        if self.thresholds is not None and (
            len(self.thresholds) != len(self.tiers) - 1 or list(self.thresholds) != sorted(self.thresholds)
        ):
            raise self._wrong(
                f"has thresholds {self.thresholds}", "One fewer than tiers, from the smallest to the largest."
            )
        if self.cascade and not self.tiers:
            raise self._wrong("has cascade but no tiers", "A cascade goes from one tier to the next.")

    @cached_property
    def steps(self) -> tuple[float, ...]:
        """The thresholds, or even ones."""
        if self.thresholds is not None:
            return self.thresholds
        return tuple((i + 1) / len(self.tiers) for i in range(len(self.tiers) - 1))

    def _wrong(self, what: str, hint: str) -> SetupError:
        return SetupError(f"Alias {self.name!r} {what}", hint=hint, code="setup.route")
