"""Whether a stage saves more time than it takes: measured speeds of this machine's models and stages."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

__all__ = ["Speeds"]

START = {
    "duplicates": 4.0,
    "structure": 3.0,
    "results": 0.2,
    "extract": 8.0,
    "extract by meaning": 250.0,
    "terse": 3.0,
}
"""Microseconds per token of the prompt, until they are measured."""
LEAST = 64
"""Tokens from which on a prefill is a measurement."""
SHARE = 0.3
"""How much the newest measurement counts."""


class Speeds:
    """Moving averages, shared by all calls of a layer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._prefill: dict[str, float] = {}
        self._stages: dict[str, float] = {}

    def prefill(self, model: str) -> float | None:
        """Tokens of prompt that a model reads per second; None: not measured (a model that reports no timings)."""
        return self._prefill.get(model)

    def saw_answer(self, model: str, metadata: Mapping[str, Any], usage: Mapping[str, Any] | None) -> None:
        """Learn from an answer that reports timings, as those of ``ChatLlama`` do."""
        ms = (metadata.get("timings") or {}).get("prefill_ms") if metadata else None
        if not ms or not usage:
            return
        details = usage.get("input_token_details") or {}
        computed = usage.get("input_tokens", 0) - (details.get("cache_read") or 0)
        if computed >= LEAST:
            self._learn(self._prefill, model, computed / ms * 1e3)

    def saw_stage(self, stage: str, tokens: int, ms: float) -> None:
        """Learn what a stage took."""
        if tokens >= LEAST:
            self._learn(self._stages, stage, ms * 1e3 / tokens)

    def cost_ms(self, stage: str, tokens: int) -> float:
        """Milliseconds that a stage will take."""
        return self._stages.get(stage, START.get(stage, 0.0)) * tokens / 1e3

    def objection(self, stage: str, tokens: int, goal: int, cached: int, model: str) -> str:
        """Why a stage would not pay for a prompt that fits as it is; empty: it does, or nobody knows.

        Args:
            tokens: of the prompt now.
            goal: what it may become.
            cached: tokens at its beginning that the model still has in memory, and would not have if they changed.
        """
        speed = self.prefill(model)
        if speed is None:
            return ""
        saved = (tokens - cached - goal) / speed * 1e3
        cost = self.cost_ms(stage, tokens)
        if cost <= saved:
            return ""
        known = f"; {cached} tokens are cached" if cached else ""
        return f"it would take {cost:.1f} ms and save {saved:.1f} ms at {speed:.0f} tokens/s{known}"

    def _learn(self, averages: dict[str, float], name: str, value: float) -> None:
        with self._lock:
            old = averages.get(name)
            averages[name] = value if old is None else old + SHARE * (value - old)
