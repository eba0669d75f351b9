"""What every section of the settings is: frozen, and closed to keys that it does not know."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["Section"]


class Section(BaseModel):
    """One table of the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)
