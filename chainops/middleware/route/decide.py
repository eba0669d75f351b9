"""From a name to the deployments to ask, and why."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from chainops.calls import ModelCall
from chainops.gateway import Alias, Deployment, Gateway
from chainops.middleware.route.difficulty import Difficulty, Meaning, difficulty

__all__ = ["Decider", "Decision", "question_of"]

MAX_KNOWN = 2000
UNSURE = 0.12
"""So near to a threshold, the embedder is asked too."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whom to ask.

    Args:
        alias: what was asked for.
        plan: the deployments, in order.
        tier: name of the tier, or "".
        reason: "rule", "difficulty", "budget" or, without tiers, the strategy.
        score: the difficulty; None: it was not looked at.
        held: so many of the plan's first deployments may be passed over for not being good enough (a cascade).
    """

    alias: Alias
    plan: list[Deployment]
    tier: str = ""
    reason: str = ""
    score: float | None = None
    held: int = 0
    features: dict[str, float] = field(default_factory=dict)

    def notes(self) -> dict[str, Any]:
        """For the span."""
        notes: dict[str, Any] = {"alias": self.alias.name, "reason": self.reason}
        if self.tier:
            notes["tier"] = self.tier
        if self.score is not None:
            notes["difficulty"] = round(self.score, 3)
        return notes


class Decider:
    """Makes decisions; knows the difficulty of the last questions."""

    def __init__(self, gateway: Gateway, meaning: Meaning | None = None) -> None:
        self.gateway, self.meaning = gateway, meaning
        self._known: OrderedDict[str, Difficulty] = OrderedDict()

    async def decide(self, name: str, call: ModelCall) -> Decision:
        """Rules first, then difficulty, then what is left of the budget."""
        alias = self.gateway.alias(name)
        if not alias.tiers:
            ones = self.gateway.plan(name)
            if len(ones) > 1 and _is_short_of_money(call) and any(one.cost is not None for one in ones):
                ones.sort(key=lambda one: float("inf") if one.cost is None else one.cost)
                return Decision(alias, ones, reason="budget")
            return Decision(alias, ones, reason=alias.strategy)
        text = question_of(call)
        rule = None
        for one in alias.rules:
            if one.applies(call, text):
                rule = one
                break
        hard: Difficulty | None = None
        if rule is not None:
            tier, reason = alias.tiers.index(rule.to), "rule"
        else:
            hard = await self.difficulty(text, alias)
            tier, reason = bisect_right(alias.steps, hard.score), "difficulty"
        if tier > 0 and _is_short_of_money(call):
            tier, reason = 0, "budget"
        plan, held = self._plan(alias, tier)
        score, features = (None, {}) if hard is None else (hard.score, hard.features)
        return Decision(alias, plan, alias.tiers[tier], reason, score, held, features)

    async def difficulty(self, text: str, alias: Alias) -> Difficulty:
        """From the words; near a threshold also from the meaning, where there is an embedder."""
        hard = self._known.get(text)
        if hard is not None:
            return hard
        hard = difficulty(text)
        if self.meaning is not None and any(abs(hard.score - step) < UNSURE for step in alias.steps):
            meaning = await self.meaning.score(text)
            hard = Difficulty((hard.score + meaning) / 2, hard.features, meaning)
        self._known[text] = hard
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return hard

    def _plan(self, alias: Alias, tier: int) -> tuple[list[Deployment], int]:
        """The tier's deployments, then larger tiers, then smaller ones, then the fallbacks."""
        plan: dict[str, Deployment] = {}
        held = 0
        for i, name in enumerate((*alias.tiers[tier:], *alias.tiers[:tier][::-1], *alias.fallbacks)):
            for deployment in self.gateway.plan(name):
                plan.setdefault(deployment.name, deployment)
            if alias.cascade and i < len(alias.tiers) - tier - 1:
                held = len(plan)
        return list(plan.values()), held


def question_of(call: ModelCall) -> str:
    """The last message of a person; without one, the last message."""
    for message in reversed(call.messages):
        if message.type == "human":
            return message.content if isinstance(message.content, str) else str(message.text)
    return str(call.messages[-1].text) if call.messages else ""


def _is_short_of_money(call: ModelCall) -> bool:
    """True when the layer ``budgets`` asked for cheap models."""
    outer: Any = call
    while outer is not None:
        if outer.guard.marks is not None and outer.guard.marks.notes.get("budgets", {}).get("degrade"):
            return True
        outer = outer.parent
    return False
