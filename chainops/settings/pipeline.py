"""``[pipeline]``."""

from __future__ import annotations

from pydantic import Field

from chainops.settings.section import Section

__all__ = ["PipelineSettings"]


class PipelineSettings(Section):
    """``[pipeline]``: which layers, outermost first."""

    middleware: tuple[str, ...] = Field(default=("trace",), description="Names of the layers, outermost first.")
