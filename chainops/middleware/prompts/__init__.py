"""Versioned prompts: templates that only put text together, from immutable versions, by the label of the run."""

from chainops.middleware.prompts.asking import BoundPrompt, prompt
from chainops.middleware.prompts.middleware import Prompts

__all__ = ["BoundPrompt", "Prompts", "prompt"]
