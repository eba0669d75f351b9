"""``[semantic_cache]``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from chainops.settings.section import Section

__all__ = ["SemanticCacheSettings"]


class SemanticCacheSettings(Section):
    """``[semantic_cache]``: answers by meaning; needs ``semantic_cache`` in the pipeline, and an embedder."""

    mode: Literal["off", "shadow", "on"] = Field(default="off", description="For nodes that say nothing.")
    threshold: float | None = Field(default=None, description="A score; else that of the calibration.")
    ttl_s: float | None = Field(default=86_400.0, gt=0, description="Seconds that an answer is served.")
    scope: Literal["tenant", "user"] = Field(default="tenant", description="Who shares answers.")
    directory: Path = Field(default=Path("chainops-cache"), description="Where the file is.")
    max_entries: int = Field(default=100_000, gt=0, description="Answers kept per partition.")
