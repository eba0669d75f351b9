"""Answers that ended before they were done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["cut_reason"]

_CUT = frozenset({"length", "max_tokens", "model_length", "incomplete", "content_filter", "error"})


def cut_reason(metadata: Mapping[str, Any] | None) -> str:
    """Why a model stopped, from its response metadata, where it was cut; else empty."""
    found = metadata or {}
    reason = found.get("finish_reason") or found.get("stop_reason") or found.get("done_reason")
    return reason if isinstance(reason, str) and reason.lower() in _CUT else ""
