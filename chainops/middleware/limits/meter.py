"""How much of a rate is used up: one number."""

from __future__ import annotations

__all__ = ["Meter"]


class Meter:
    """The generic cell rate algorithm (ITU-T I.371, virtual scheduling), with amounts that are paid afterwards.

    ``at`` is the theoretical arrival time: when everything that was let in so far is paid for at the steady rate.
    Who comes is let in when ``at - tolerance`` has passed, and then moves ``at`` by what it takes. A large amount
    does not wait for itself, those behind it do: a request of 4,000 tokens after a pause starts at once.

    Args:
        amount: how much may pass per ``period_s``.
        burst: how much may pass at once after a pause, at least 1.
    """

    __slots__ = ("at", "interval", "tolerance")

    def __init__(self, amount: float, period_s: float, burst: float) -> None:
        self.interval = period_s / amount
        self.tolerance = (burst - 1.0) * self.interval
        self.at = 0.0

    def wait_s(self, now: float) -> float:
        """Seconds until the next one is let in; 0 or less: now."""
        return self.at - self.tolerance - now

    def take(self, amount: float, base: float) -> None:
        """Let ``amount`` in. ``base``: the time from which an unused rate counts."""
        at = self.at
        self.at = (at if at > base else base) + amount * self.interval

    def give(self, amount: float) -> None:
        """Give ``amount`` back (less than 0: take more)."""
        self.at -= amount * self.interval
