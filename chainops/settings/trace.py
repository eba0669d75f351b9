"""``[trace]``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from chainops.settings.section import Section

__all__ = ["TraceSettings"]


class TraceSettings(Section):
    """``[trace]``: where and how runs are recorded."""

    path: Path = Field(default=Path("chainops.db"), description="The trace file.")
    content: bool = Field(default=True, description="Record inputs and outputs, not only timings and tokens.")
    sample: float = Field(default=1.0, ge=0, le=1, description="Share of runs to keep, 0 to 1.")
    keep_errors: bool = Field(default=True, description="Keep runs with an error whatever `sample` says.")
    keep_slow_ms: float | None = Field(default=None, gt=0, description="Keep runs at least this slow (milliseconds).")
    max_payload_bytes: int = Field(default=65_536, ge=0, description="Cut one input or output after so many bytes.")
    max_queue: int = Field(default=20_000, gt=0, description="Spans that may wait for the disk.")
    on_full: Literal["drop_payload", "drop_new", "block"] = Field(
        default="drop_payload", description="What to do while `max_queue` spans wait for the disk."
    )
