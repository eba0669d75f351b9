"""A plugin for chainops: a Hugging Face classifier in a folder judges texts, live and afterwards as a score."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field

from chainops.layer import Middleware
from chainops.plugin import Plugin

if TYPE_CHECKING:
    from chainops.middleware.rails.classifier import Classifier

__all__ = ["Options", "plugin"]

__version__ = "0.1.0"


class Options(BaseModel, extra="forbid", frozen=True):
    """The table ``[plugins.toxicity_hf]``."""

    model: Path = Field(description="The folder of the classifier.")
    labels: tuple[str, ...] | None = Field(
        default=None, description="Labels that are toxic; else all but the usual names for harmless texts."
    )
    flag: float = Field(default=0.5, ge=0, le=1, description="From this score on a text is marked in the trace.")
    block: float = Field(default=0.9, ge=0, le=1, description="From this score on it is refused.")
    places: tuple[Literal["input", "output", "tool_call", "tool_result", "retrieval"], ...] = Field(
        default=("input", "output"), min_length=1, description="Which texts are judged."
    )
    on_block: Literal["stop", "refuse"] = Field(
        default="refuse", description="A refused text ends the run, or is answered with refusal."
    )
    refusal: str = Field(default="I would rather not say that.", description="The answer in its place.")
    on_error: Literal["block", "flag"] = Field(
        default="block", description="What becomes of a text that could not be judged."
    )


def layers(options: Options) -> list[Middleware]:
    """The one layer, ``toxicity_hf``."""
    from chainops_toxicity_hf.layer import ToxicityHF

    rail = _classifier(options)
    return [ToxicityHF([rail], on_block=options.on_block, refusal=options.refusal)]


def toxicity(options: Options, span: Any) -> float | None:
    """How toxic the answer of a model was, 0 to 1; nothing for other spans."""
    if span.kind != "model" or not span.output:
        return None
    from chainops_toxicity_hf.layer import words_of

    return round(_loaded(options).score(words_of(span.output))[0], 4)


def _classifier(options: Options) -> Classifier:
    from chainops.middleware.rails.classifier import Classifier

    return Classifier(
        "toxicity",
        options.model,
        bad=options.labels,
        flag=options.flag,
        block=options.block,
        places=options.places,
        on_error=options.on_error,
    )


_loaded = lru_cache(maxsize=2)(_classifier)

plugin = Plugin(
    name="toxicity_hf",
    version=__version__,
    options=Options,
    middleware=layers,
    scorers={"toxicity": toxicity},
)
