"""The budgets from settings."""

from __future__ import annotations

from chainops.errors import SetupError
from chainops.middleware.budgets import Budgets
from chainops.settings import Settings

__all__ = ["build"]


def build(settings: Settings) -> Budgets:
    """The layer for ``[budgets]``, with the prices and the currency of ``[cost]``."""
    if "cost" not in settings.pipeline.middleware:
        raise SetupError(
            "The layer budgets charges what the layer cost notes, and there is none in the pipeline",
            hint='Put "cost" at the end of [pipeline].middleware.',
            code="setup.budgets",
        )
    options = settings.budgets.model_dump(exclude={"rules"})
    cost = settings.cost.model_dump(include={"books", "currency", "rates", "models"})
    rules = [rule.model_dump(exclude_none=True) for rule in settings.budgets.rules]
    return Budgets(rules, prices=settings.cost.path or settings.trace.path, **options, **cost)
