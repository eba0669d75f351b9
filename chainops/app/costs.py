"""Costs and budgets from settings: prices, and what the gateway's names stand for."""

from __future__ import annotations

from chainops.errors import SetupError
from chainops.middleware.budgets import Budgets
from chainops.middleware.cost import Cost
from chainops.settings import Settings

__all__ = ["budgets_of", "cost_of"]


def cost_of(settings: Settings) -> Cost:
    """The layer for ``[cost]``."""
    options = settings.cost.model_dump(exclude={"path"})
    path = settings.cost.path or settings.trace.path
    return Cost(path, servers=_servers(settings), **options)


def budgets_of(settings: Settings) -> Budgets:
    """The layer for ``[budgets]``, with the prices and the currency of ``[cost]``."""
    if "cost" not in settings.pipeline.middleware:
        raise SetupError(
            "The layer budgets charges what the layer cost notes, and there is none in the pipeline",
            hint='Put "cost" at the end of [pipeline].middleware.',
            code="setup.budgets",
        )
    options = settings.budgets.model_dump(exclude={"rules"})
    rules = [rule.model_dump(exclude_none=True) for rule in settings.budgets.rules]
    return Budgets(
        rules,
        prices=settings.cost.path or settings.trace.path,
        models=_names(settings),
        candidates=_candidates(settings),
        servers=_servers(settings),
        **options,
        **settings.cost.model_dump(include={"books", "currency", "rates"}),
    )


def _names(settings: Settings) -> dict[str, str]:
    """Names in the price books: deployments go by the model that they ask for, where nothing else is said."""
    asked = {name: one.model for name, one in settings.route.models.items() if one.model}
    return {**asked, **settings.cost.models}


def _servers(settings: Settings) -> dict[str, str]:
    return {name: one.url for name, one in settings.route.models.items() if one.url is not None}


def _candidates(settings: Settings) -> dict[str, tuple[str, ...]]:
    """By alias, every deployment that may answer in the end."""
    route = settings.route

    def below(name: str, above: frozenset[str]) -> dict[str, None]:
        if name in route.models or name in above or name not in route.aliases:
            return {name: None}
        alias = route.aliases[name]
        inner = (*alias.deployments, *alias.tiers, *alias.fallbacks)
        return {each: None for one in inner for each in below(one, above | {name})}

    return {name: tuple(below(name, frozenset())) for name in (*route.aliases, *route.models)}
