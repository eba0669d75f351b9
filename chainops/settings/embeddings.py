"""``[embeddings]``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from chainops.settings.section import Section

__all__ = ["EmbeddingSettings"]


class EmbeddingSettings(Section):
    """``[embeddings]``: the model that turns texts into vectors, for the layers that use one."""

    path: Path | None = Field(default=None, description="The folder of the model; else the usual place.")
