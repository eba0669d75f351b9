"""A plugin for chainops: draws graphs as Mermaid, with the times of a trace.

>>> from chainops_mermaid import draw, measure
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from chainops.plugin import Plugin
from chainops_mermaid.draw import draw
from chainops_mermaid.measure import Measured, measure

__all__ = ["Measured", "Options", "draw", "measure", "plugin"]

__version__ = "0.1.0"


class Options(BaseModel, extra="forbid", frozen=True):
    """The table ``[plugins.mermaid]``."""

    direction: Literal["TD", "LR", "BT", "RL"] = Field(default="TD", description="Where arrows lead: TD is down.")
    runs: int = Field(default=100, gt=0, description="The page measures so many of the newest runs.")
    script: str | None = Field(
        default=None, description="URL of a mermaid.min.js of your own that the page loads; without one it shows text."
    )


def _page(options: Options, trace: Path) -> str:
    from chainops_mermaid.page import page

    return page(trace, direction=options.direction, runs=options.runs, script=options.script)


plugin = Plugin(
    name="mermaid",
    version=__version__,
    options=Options,
    commands="chainops_mermaid.commands:app",
    pages={"runs": _page},
)
