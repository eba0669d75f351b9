"""``[compress]``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from chainops.settings.section import Section

__all__ = ["CompressSettings"]


class CompressSettings(Section):
    """``[compress]``: prompts that fit; needs ``compress`` in ``[pipeline].middleware``."""

    strategy: Literal["lossless", "balanced", "aggressive", "trim", "last_n"] = Field(
        default="balanced", description="What may be left out."
    )
    last_n: int = Field(default=5, gt=0, description="Messages that the strategy last_n keeps.")
    target_tokens: int | None = Field(default=None, gt=0, description="Compress longer prompts to this where it pays.")
    windows: dict[str, int] = Field(default_factory=dict, description="Tokens of the window, by glob on the model.")
    answer_reserve: int | None = Field(default=None, ge=0, description="Tokens kept free for the answer.")
    tools_reserve: int = Field(default=0, ge=0, description="Tokens kept free for tools, at least.")
    step: float = Field(default=0.25, ge=0, le=1, description="Share of the limit by which the cut moves on.")
    keep_results: int = Field(default=3, ge=0, description="Results of tools that stay when older ones are cleared.")
    fold_comments: bool = Field(default=False, description="Comments of code in fences may go.")
    ingest_tokens: int | None = Field(default=None, gt=0, description="Make longer results shorter as they come in.")
    summary: bool = Field(default=False, description="A model tells what does not fit before it is dropped.")
    recall: bool = Field(default=False, description="Turns that leave the prompt go into the graph's store and back.")
    user_key: str = Field(default="user", description="Where the run's metadata names the user.")
    tenant_key: str = Field(default="tenant", description="Where the run's metadata names the tenant.")
