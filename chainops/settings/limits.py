"""``[limits]``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from chainops.settings.section import Section

__all__ = ["LimitRuleSettings", "LimitSettings"]

Word = Literal["user", "tenant", "thread", "graph", "node", "model", "name"]


class LimitRuleSettings(Section):
    """One table of ``[[limits.rules]]``."""

    name: str = Field(description="In errors and spans; unique.")
    per: tuple[Word, ...] = Field(default=(), description="What is counted apart; none: all calls together.")
    kind: Literal["model", "tool", "retriever", "node", "task", "run"] = Field(
        default="model", description="Of the calls that count."
    )
    match: dict[Word, str] = Field(default_factory=dict, description="Globs that the call must match.")
    requests: float | None = Field(default=None, gt=0, description="Calls per period.")
    tokens: float | None = Field(default=None, gt=0, description="Tokens, in and out, per period.")
    concurrent: int | None = Field(default=None, gt=0, description="Calls at the same time.")
    period_s: float = Field(default=60.0, gt=0, description="Seconds.")
    burst: float | None = Field(default=None, ge=1, description="Calls that may start together after a pause.")
    burst_tokens: float | None = Field(default=None, ge=1, description="The same in tokens.")
    max_queue: int = Field(default=1000, ge=0, description="Calls that may wait.")
    max_wait_s: float = Field(default=60.0, gt=0, description="Seconds that a call may wait.")
    mode: Literal["fifo", "throttle"] = Field(default="fifo", description="A steady rate, or a strict window.")


class LimitSettings(Section):
    """``[limits]``: who may call how often; needs ``limits`` in ``[pipeline].middleware``."""

    rules: tuple[LimitRuleSettings, ...] = Field(default=(), description="The limits.")
    path: Path | None = Field(default=None, description="A file in which several processes count together.")
    store: str | None = Field(default=None, description="An enabled plugin that keeps the counts, in place of a file.")
    age_s: float = Field(default=10.0, gt=0, description="Seconds of waiting worth one step of priority.")
    deadline_s: float | None = Field(default=None, gt=0, description="Of runs whose metadata says nothing.")
    user_key: str = Field(default="user", description="Where the metadata of a run has the user.")
    tenant_key: str = Field(default="tenant", description="Where the metadata of a run has the tenant.")
