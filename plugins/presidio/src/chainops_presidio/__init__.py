"""A plugin for chainops: names and places for the layer pii, found by Presidio and a spaCy model of your own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from chainops.plugin import Plugin

if TYPE_CHECKING:
    from chainops_presidio.detector import Names

__all__ = ["Options", "plugin"]

__version__ = "0.1.0"


class Options(BaseModel, extra="forbid", frozen=True):
    """The table ``[plugins.presidio]``."""

    model: str = Field(
        default="en_core_web_sm", description="A folder with a spaCy model, or the name of one that is installed."
    )
    language: str = Field(default="en", description="Of the model.")
    entities: tuple[str, ...] = Field(
        default=("PERSON", "LOCATION"),
        min_length=1,
        description="What is looked for: also NRP, DATE_TIME, ORGANIZATION.",
    )
    score: float = Field(
        default=0.85, gt=0, lt=1, description="How sure a finding is; spaCy's models do not say it themselves."
    )
    labels: dict[str, str] = Field(
        default={}, description="What the model's own labels mean, where they are not spaCy's usual ones."
    )


def names(options: Options) -> Names:
    """The detector for ``[pii] detectors = ["presidio"]``."""
    from chainops_presidio.detector import Names

    return Names(options)


plugin = Plugin(name="presidio", version=__version__, options=Options, detectors={"names": names})
