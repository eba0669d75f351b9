"""Users who are refused again and again must wait, each time longer."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chainops.calls import Call
from chainops.errors import SetupError
from chainops.middleware.rails.verdict import RailBlocked

__all__ = ["Strikes"]

MOST = 100_000  # users that are remembered


@dataclass(slots=True)
class _User:
    strikes: deque[float] = field(default_factory=deque)
    until: float = 0.0
    times: int = 0


class Strikes:
    """Counts what was refused by user, in this process; for all threads.

    After ``limit`` refusals within ``window_s`` a user is refused everything for ``wait_s``, the next time twice as
    long, up to a day.

    Args:
        user_key: where the run's metadata has the user; without one, the thread counts; without that, nobody.
        clock: seconds that only grow; for tests.
    """

    def __init__(
        self,
        limit: int = 5,
        *,
        window_s: float = 3600.0,
        wait_s: float = 300.0,
        user_key: str = "user",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if limit < 1 or window_s <= 0 or wait_s <= 0:
            raise SetupError(
                f"Strikes(limit={limit}, window_s={window_s}, wait_s={wait_s})",
                hint="All must be positive.",
                code="setup.rail",
            )
        self.limit, self.window_s, self.wait_s, self.user_key = limit, window_s, wait_s, user_key
        self._clock = clock
        self._users: OrderedDict[str, _User] = OrderedDict()
        self._lock = threading.Lock()

    def describe(self) -> dict[str, Any]:
        """Its settings."""
        return {name: getattr(self, name) for name in ("limit", "window_s", "wait_s", "user_key")}

    def refuse(self, call: Call) -> None:
        """Raise ``RailBlocked`` while the user of ``call`` must wait; ``reason`` says how long."""
        who = self._who(call)
        with self._lock:
            user = self._users.get(who) if who else None
            left = user.until - self._clock() if user is not None else 0.0
        if left > 0:
            raise RailBlocked("strikes", f"too much was refused; try again in {left:.0f} s", "throttled", place="input")

    def add(self, call: Call) -> None:
        """Count one refusal."""
        who = self._who(call)
        if not who:
            return
        now = self._clock()
        with self._lock:
            user = self._users.setdefault(who, _User())
            self._users.move_to_end(who)
            if len(self._users) > MOST:
                self._users.popitem(last=False)
            user.strikes.append(now)
            while user.strikes and user.strikes[0] <= now - self.window_s:
                user.strikes.popleft()
            if len(user.strikes) >= self.limit:
                user.strikes.clear()
                user.until = now + min(self.wait_s * 2**user.times, 86_400.0)
                user.times += 1

    def _who(self, call: Call) -> str:
        user = call.run.metadata.get(self.user_key)
        return f"user {user}" if user is not None else f"thread {call.thread}" if call.thread else ""
