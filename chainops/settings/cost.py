"""``[cost]``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from chainops.settings.section import Section

__all__ = ["CostSettings"]


class CostSettings(Section):
    """``[cost]``: what model calls cost; needs ``cost`` in ``[pipeline].middleware``."""

    path: Path | None = Field(default=None, description="The file with the price books; else the trace file.")
    books: tuple[str, ...] = Field(default=("own", "genai-prices"), description="Price books, the first that knows.")
    currency: str = Field(default="USD", pattern="^[A-Z]{3}$", description="Of all figures.")
    rates: dict[str, str | int | float] = Field(default_factory=dict, description="What other currencies are worth.")
    models: dict[str, str] = Field(default_factory=dict, description="Names in the books, by name of a model here.")
