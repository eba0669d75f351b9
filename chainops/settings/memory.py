"""``[memory]``."""

from __future__ import annotations

from pydantic import Field

from chainops.settings.section import Section

__all__ = ["MemorySettings"]


class MemorySettings(Section):
    """``[memory]``: facts from earlier sessions; needs ``memory`` in ``[pipeline].middleware`` and a graph's store."""

    limit: int = Field(default=5, gt=0, description="Facts in front of a question.")
    max_facts: int = Field(default=200, gt=0, description="Facts of one user; the oldest go first.")
    max_chars: int = Field(default=500, gt=0, description="Characters of one fact; longer ones are refused.")
    likeness: float = Field(default=0.25, ge=0, le=1, description="Cosine from which on a fact fits by its meaning.")
    user_key: str = Field(default="user", description="Where the run's metadata names the user.")
    tenant_key: str = Field(default="tenant", description="Where the run's metadata names the tenant.")
