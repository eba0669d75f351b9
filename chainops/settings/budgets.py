"""``[budgets]``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from chainops.settings.section import Section

__all__ = ["BudgetRuleSettings", "BudgetSettings"]

Whose = Literal["user", "tenant", "chain"]
Amount = str | int | float


class BudgetRuleSettings(Section):
    """One table of ``[[budgets.rules]]``."""

    per: tuple[Whose, ...] = Field(default=(), description="What is counted apart; none: all calls together.")
    period: Literal["day", "month", "year"] = Field(default="month", description="Of the calendar.")
    hard: Amount | None = Field(default=None, description="What nobody passes, in [cost].currency.")
    soft: Amount | None = Field(default=None, description="From here on calls go the cheap way.")
    match: dict[Whose, str] = Field(default_factory=dict, description="Globs that user, tenant, chain must fit.")
    low_share: float = Field(default=1.0, ge=0, le=1, description="Share that calls of low priority may use.")


class BudgetSettings(Section):
    """``[budgets]``: how much may be spent; needs ``budgets`` and ``cost`` in ``[pipeline].middleware``."""

    rules: tuple[BudgetRuleSettings, ...] = Field(default=(), description="The budgets.")
    path: Path = Field(default=Path("chainops-budgets.db"), description="The accounts, shared by all processes.")
    timezone: str = Field(default="UTC", description="In which days, months and years begin.")
    estimate: Amount = Field(default="0.01", description="Reserved where nothing is known of what a call costs.")
    answer_tokens: int = Field(default=1024, gt=0, description="Reserved for an answer without a limit.")
    user_key: str = Field(default="user", description="Where the metadata of a run has the user.")
    tenant_key: str = Field(default="tenant", description="Where the metadata of a run has the tenant.")
