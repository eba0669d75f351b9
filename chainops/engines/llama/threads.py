"""How many threads compute: all that were given, or one while other work on the machine makes them wait for each other.

Threads meet at a barrier after every part of a layer. If one of them loses its core to another process, all wait until
it gets it back: two threads on two cores beside one busy process were 14 to 18 times slower than alone, and one thread
was not slower at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Threads"]

FIRST_WAIT, LONGEST_WAIT = 1.0, 16.0
PROBE_STEPS, PROBE_PATIENCE = 4, 16
SLOW, SLOW_STEPS = 2.5, 2
BETTER, WORSE = 0.9, 1.5
LOST_SHARE = 20
"""A trial may take one part in so many of the time."""
FRESH = 0.5


class Threads:
    """Learns from how long steps take; now and then a few steps try the other number.

    Args:
        most: how many there may be.
        clock: seconds.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most = self.now = most
        self._clock = clock
        self._seconds: dict[tuple[int, int], float] = {}  # of a step, by threads and rows
        self._best: dict[int, float] = {}  # with all threads, by rows
        self._wait, self._next = FIRST_WAIT, clock() + FIRST_WAIT
        self._slow = self._steps = self._compared = 0
        self._spent = 0.0  # seconds of this trial

    def measured(self, rows: int, seconds: float) -> int:
        """A step of ``rows`` tokens took ``seconds`` with ``now`` threads; returns how many the next one shall have."""
        if self.most == 1:
            return 1
        key = self.now, rows
        known = self._seconds.get(key)
        self._seconds[key] = seconds if known is None else known + FRESH * (seconds - known)
        if self._steps:
            self._spent += seconds
            self._probe(rows)
        elif self._clock() >= self._next or self._jumped(rows, seconds):
            self._steps, self._compared, self._slow, self._spent = PROBE_PATIENCE, 0, 0, 0.0
            self.now = 1 if self.now == self.most else self.most
            for other in [key for key in self._seconds if key[0] == self.now]:
                del self._seconds[other]  # from another time
        return self.now

    def _probe(self, rows: int) -> None:
        """One step with the number on trial is over: decide when enough can be compared."""
        before = 1 if self.now == self.most else self.most
        self._steps -= 1
        old, new = self._seconds.get((before, rows)), self._seconds[self.now, rows]
        self._compared += old is not None
        clear = old is not None and new > WORSE * old
        if self._compared < PROBE_STEPS and self._steps and not clear:
            return
        if old is not None and new < BETTER * old:
            self._wait = FIRST_WAIT
        else:
            self.now, self._wait = before, min(2 * self._wait, LONGEST_WAIT)
        self._steps, self._next = 0, self._clock() + max(self._wait, LOST_SHARE * self._spent)

    def _jumped(self, rows: int, seconds: float) -> bool:
        """Several steps in a row took much longer than the best of their kind."""
        if self.now != self.most:
            return False
        best = self._best[rows] = min(seconds, 1.001 * self._best.get(rows, seconds))
        self._slow = self._slow + 1 if seconds > SLOW * best else 0
        return self._slow >= SLOW_STEPS
