"""A layer made of one of chainops' own, and the words of a recorded answer."""

from __future__ import annotations

import json
from typing import ClassVar

from chainops.middleware.rails import Rails

__all__ = ["ToxicityHF", "words_of"]


class ToxicityHF(Rails):
    """Rails with one rail, beside those of ``[rails]``, which stand outside of it."""

    name: ClassVar[str] = "toxicity_hf"
    inside: ClassVar[tuple[str, ...]] = (*Rails.inside, "rails")


def words_of(output: str) -> str:
    """What the model said, of a recorded message: its text blocks, without ids and usage."""
    try:
        content = json.loads(output)["content"]
    except (ValueError, KeyError, TypeError):
        return output  # sampled, cut or masked: judged as it stands
    if isinstance(content, str):
        return content
    return "\n".join(str(block["text"]) for block in content if isinstance(block, dict) and "text" in block)
