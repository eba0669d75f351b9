"""``[resources]``."""

from __future__ import annotations

from pydantic import Field

from chainops.settings.section import Section

__all__ = ["ResourceSettings"]


class ResourceSettings(Section):
    """``[resources]``: what ``chainops run`` may take of the machine."""

    threads: int | None = Field(default=None, ge=1, description="Processors that the process may use.")
    memory_mb: int | None = Field(
        default=None, ge=256, description="MiB of memory of its own; files mapped not counted."
    )
    nice: int = Field(default=0, ge=0, le=19, description="How far other processes go first; 19 is farthest.")
