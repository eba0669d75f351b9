"""``[prompts]``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from chainops.settings.section import Section

__all__ = ["PromptSettings"]


class PromptSettings(Section):
    """``[prompts]``: which versions of prompts are used; needs ``prompts`` in ``[pipeline].middleware``."""

    path: Path | None = Field(default=None, description="The file with the prompts; else the trace file.")
    label: str = Field(default="prod", description="The label that is meant where none is named.")
    fallback: Path | None = Field(default=None, description="Folder of prompt files for what the file does not have.")
    max_age_s: float = Field(default=1.0, ge=0, description="Seconds until a new run looks at the file again.")
