"""``[chain]``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from chainops.settings.section import Section

__all__ = ["ChainSettings"]


class ChainSettings(Section):
    """``[chain]``: versions of the whole chain; needs ``chain`` in ``[pipeline].middleware``."""

    path: Path | None = Field(default=None, description="The file with the versions; else the trace file.")
    pin_threads: bool = Field(default=False, description="A thread goes on with the versions that it began with.")
    on_drift: Literal["warn", "error"] = Field(
        default="warn", description="What to do where a pinned thread's code is another by now."
    )
