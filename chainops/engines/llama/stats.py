"""What a loaded model has done."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Stats"]


@dataclass(slots=True)
class Stats:
    """Counters of a session since it was loaded; read them from any thread. Times are seconds."""

    requests: int = 0
    cancelled: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    running: int = 0
    most_running: int = 0
    steps: int = 0
    step_s: float = 0.0
    decode_s: float = 0.0
    loads: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
