"""All deployments and aliases of an application."""

from __future__ import annotations

import difflib
import random
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from chainops.errors import SetupError
from chainops.gateway.alias import Alias
from chainops.gateway.alias_model import AliasModel
from chainops.gateway.deployment import Deployment

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["Gateway"]


class Gateway:
    """Names to deployments.

    Args:
        deployments: the places where models run.
        aliases: names for them; may name each other, but not in a circle.
        seed: for the strategies that choose by chance.

    Raises:
        SetupError: code ``setup.route``: a name twice, an unknown one, or a circle.
    """

    def __init__(self, deployments: Iterable[Deployment], aliases: Iterable[Alias] = (), *, seed: int = 0) -> None:
        self.deployments: dict[str, Deployment] = {}
        self.aliases: dict[str, Alias] = {}
        for deployment in deployments:
            self._claim(deployment.name)
            self.deployments[deployment.name] = deployment
        for alias in aliases:
            self._claim(alias.name)
            self.aliases[alias.name] = alias
        self._chance = random.Random(seed)  # noqa: S311 - spreads load, keeps no secret
        for alias in self.aliases.values():
            self._check(alias, ())

    def __contains__(self, name: object) -> bool:
        return name in self.deployments or name in self.aliases

    def alias(self, name: str) -> Alias:
        """What ``name`` stands for; a deployment stands for itself. Raises ``SetupError``."""
        if name in self.aliases:
            return self.aliases[name]
        if name in self.deployments:
            return Alias(name, deployments=(name,))
        known = sorted([*self.deployments, *self.aliases])
        close = difflib.get_close_matches(name, known, n=1)
        raise _wrong(
            f"There is no model {name!r}",
            f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(known) or 'none'}: [route.models].",
        )

    def plan(self, name: str) -> list[Deployment]:
        """The deployments to ask, in order: healthy ones first, each once. Tiers: from small to large."""
        if name in self.deployments:
            return [self.deployments[name]]
        found: dict[str, Deployment] = {}
        self._collect(name, found)
        plan = list(found.values())
        if len(plan) > 1 and any(d.health.troubled for d in plan):
            plan.sort(key=lambda d: (not d.health.available(), d.health.wait_s()))  # stable: the order stays otherwise
        return plan

    def stands_for(self, model: object) -> tuple[BaseChatModel, ...]:
        """All models that may answer for ``model``, by their names; empty unless it is a name of this gateway.

        For caches, whose answers must not outlive the models that gave them. May make models, and so block.
        """
        if not isinstance(model, AliasModel) or model.model_name not in self:
            return ()
        names, found = [model.model_name], set[str]()
        while names:
            name = names.pop()
            if name not in found:
                found.add(name)
                alias = self.aliases.get(name)
                names += (*alias.deployments, *alias.tiers, *alias.fallbacks) if alias is not None else ()
        return tuple(self.deployments[name].model for name in sorted(found & self.deployments.keys()))

    def close(self) -> None:
        """Release all models that were made."""
        for deployment in self.deployments.values():
            deployment.close()

    def _claim(self, name: str) -> None:
        if name in self:
            raise _wrong(f"Two models are called {name!r}", "Rename one.")

    def _collect(self, name: str, found: dict[str, Deployment]) -> None:
        if name in self.deployments:
            found.setdefault(name, self.deployments[name])
            return
        alias = self.alias(name)
        for deployment in self._ordered(alias):
            found.setdefault(deployment.name, deployment)
        for other in (*alias.tiers, *alias.fallbacks):
            self._collect(other, found)

    def _ordered(self, alias: Alias) -> Sequence[Deployment]:
        ones = [self.deployments[name] for name in alias.deployments]
        if len(ones) < 2 or alias.strategy == "order":
            return ones
        if alias.strategy == "weighted":
            return sorted(ones, key=lambda d: -(self._chance.random() ** (1 / d.weight)))  # Efraimidis, Spirakis 2006
        if alias.strategy == "least_busy":
            return sorted(ones, key=lambda d: ((d.health.in_flight + 1) / d.weight, self._chance.random()))
        if alias.strategy == "cheapest":
            return sorted(ones, key=lambda d: float("inf") if d.cost is None else d.cost)
        return self._fastest(ones)

    def _fastest(self, ones: list[Deployment]) -> list[Deployment]:
        """Power of two choices (Mitzenmacher 2001): all who ask at once do not run to the same best one."""
        new = next((d for d in ones if d.health.calls == 0 and d.health.in_flight == 0), None)
        if new is not None:
            first = new
        else:
            up = [d for d in ones if d.health.available()] or ones
            first = min(self._chance.sample(up, min(2, len(up))), key=lambda d: d.health.predicted_s())
        return [first, *sorted((d for d in ones if d is not first), key=lambda d: d.health.predicted_s())]

    def _check(self, alias: Alias, above: tuple[str, ...]) -> None:
        if alias.name in above:
            raise _wrong(f"Aliases name each other in a circle: {' > '.join((*above, alias.name))}", "Break it.")
        for name in alias.deployments:
            if name not in self.deployments:
                raise _wrong(
                    f"Alias {alias.name!r} names the deployment {name!r}, which does not exist",
                    f"There are {', '.join(sorted(self.deployments)) or 'none'}.",
                )
        for name in (*alias.tiers, *alias.fallbacks):
            if name in self.aliases:
                self._check(self.aliases[name], (*above, alias.name))
            elif name not in self.deployments:
                raise _wrong(
                    f"Alias {alias.name!r} names {name!r}, which does not exist",
                    f"There are {', '.join(sorted([*self.deployments, *self.aliases]))}.",
                )


def _wrong(what: str, hint: str) -> SetupError:
    return SetupError(what, hint=hint, code="setup.route")
