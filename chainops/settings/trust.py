"""``[trust]``."""

from __future__ import annotations

from pydantic import Field

from chainops.settings.section import Section

__all__ = ["TrustSettings"]


class TrustSettings(Section):
    """``[trust]``: which code may run in this process."""

    plugins: dict[str, str] | None = Field(
        default=None, description="Plugins that may be loaded, by the hash of their package; not set: any."
    )
