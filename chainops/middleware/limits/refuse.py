"""What a call is told that is not let in."""

from __future__ import annotations

from chainops.errors import LimitExceeded
from chainops.middleware.limits.rules import LimitRule

__all__ = ["too_late", "too_long", "too_many"]


def too_many(rule: LimitRule, waiting: int, wait: float) -> LimitExceeded:
    """The queue is full."""
    full = f"{waiting} calls wait already, the queue is full" if waiting else "no call may start now, and none may wait"
    return LimitExceeded(
        f"Limit {rule.name!r} ({_what(rule)}): {full}",
        hint=f"Try again in {wait:.1f} s, or raise `max_queue` of that limit.",
        code="limits.queue",
        retry_after_s=wait,
    )


def too_long(rule: LimitRule, wait: float) -> LimitExceeded:
    """The call would wait longer than ``max_wait_s``."""
    return LimitExceeded(
        f"Limit {rule.name!r} ({_what(rule)}): the call would wait longer than {rule.max_wait_s:g} s",
        hint=f"Try again in {wait:.1f} s, or raise `max_wait_s` of that limit.",
        code="limits.wait",
        retry_after_s=wait,
    )


def too_late(rule: LimitRule, patience: float, wait: float) -> LimitExceeded:
    """The call would wait past its deadline."""
    return LimitExceeded(
        f"Limit {rule.name!r} ({_what(rule)}): no start before the deadline in {max(patience, 0):.1f} s",
        hint=f"Try again in {wait:.1f} s, or give the run a longer `deadline_s`.",
        code="limits.deadline",
        retry_after_s=wait,
    )


def _what(rule: LimitRule) -> str:
    rates = [f"{getattr(rule, what):g} {what}" for what in ("requests", "tokens") if getattr(rule, what) is not None]
    parts = [f"{' and '.join(rates)} per {rule.period_s:g} s"] if rates else []
    if rule.concurrent is not None:
        parts.append(f"{rule.concurrent} at a time")
    return ", ".join(parts) + (f" for each {' and '.join(rule.per)}" if rule.per else "")
