"""What may be cached, and why not: one line of reason for each refusal."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from chainops.calls import ModelCall, ModelResult, ToolCall
from chainops.errors import Blocked, CallError
from chainops.store.cache.cut import cut_reason

__all__ = ["documents_of", "is_deterministic_error", "is_pure", "why_not_model", "why_not_stored"]


def why_not_model(call: ModelCall, model: Any) -> str:
    """Why another answer of ``model`` may come out the next time; empty where the same one will."""
    seed = call.params.get("seed", getattr(model, "seed", None))
    if isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0:
        return ""
    temperature = call.params.get("temperature", getattr(model, "temperature", None))
    if temperature is None:
        return "the model has no temperature and no seed"
    if isinstance(temperature, int | float) and temperature == 0:
        return ""
    return f"temperature {temperature} without a seed"


def why_not_stored(result: ModelResult) -> str:
    """Why an answer must not be given again; empty where it may."""
    if reason := cut_reason(result.message.response_metadata):
        return f"the answer ended with {reason!r}"
    if not result.message.content and not result.message.tool_calls:
        return "the answer is empty"
    return ""


def is_pure(call: ToolCall, globs: tuple[str, ...]) -> bool:
    """Whether somebody said that the tool has no side effects: the settings, or its own metadata."""
    if any(fnmatchcase(call.name, glob) for glob in globs):
        return True
    metadata = getattr(call.tool, "metadata", None) or {}
    own = metadata.get("chainops") if isinstance(metadata, dict) else None
    return isinstance(own, dict) and own.get("pure") is True


def is_deterministic_error(error: Exception, known: tuple[type[Exception], ...]) -> bool:
    """Whether the same call would fail in the same way a second later."""
    if isinstance(error, known):
        return True
    return isinstance(error, CallError) and not isinstance(error, Blocked) and not error.retryable


def documents_of(result: Any) -> list[str]:
    """Tags for the documents that a retriever found."""
    found = []
    for document in result if isinstance(result, list) else ():
        metadata = getattr(document, "metadata", None) or {}
        for name in (getattr(document, "id", None), metadata.get("source")):
            if isinstance(name, str) and name:
                found.append(f"document:{name}")
    return found
