"""``[cache]``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from chainops.settings.section import Section

__all__ = ["CacheSettings"]


class CacheSettings(Section):
    """``[cache]``: which answers are given again; needs ``cache`` in ``[pipeline].middleware``."""

    directory: Path = Field(default=Path("chainops-cache"), description="Where answers are kept.")
    store: str | None = Field(default=None, description="An enabled plugin that keeps answers, in place of files.")
    on_disk: bool = Field(default=True, description="False: in this process only.")
    ttl_s: float | None = Field(default=604_800.0, ge=0, description="Seconds an answer is served.")
    stale_s: float = Field(default=0.0, ge=0, description="Seconds more in which it is served while one makes it anew.")
    early_refresh: float = Field(default=1.0, ge=0, description="How eagerly an answer is made anew before its end.")
    scope: Literal["tenant", "user", "thread"] = Field(default="tenant", description="Who shares answers.")
    tenant_key: str = Field(default="tenant", description="Where the metadata of a run has the tenant.")
    user_key: str = Field(default="user", description="Where the metadata of a run has the user.")
    tools: tuple[str, ...] = Field(default=(), description="Globs on names of tools without side effects.")
    versions: dict[str, str] = Field(default_factory=dict, description="What something is, by glob on its name.")
    only_deterministic: bool = Field(default=True, description="Only at temperature 0 or with a seed.")
    negative_ttl_s: float = Field(default=2.0, ge=0, description="Seconds for which an error is raised again.")
    replay: Literal["at_once", "pace"] = Field(default="at_once", description="How a cached stream comes.")
    single_flight: bool = Field(default=True, description="Of equal calls at once, one runs.")
    memory_entries: int = Field(default=2000, ge=0, description="Answers kept as objects.")
    size_limit: int = Field(default=1_073_741_824, gt=0, description="Bytes on disk.")
