"""The layer: it looks for alerts in what the trace file gained, and keeps the same one from coming too often."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from chainops.store.follow import Follower, Found, follow_table
from chainops_alert_hook.alerts import Alert, Bounds, alerts_in
from chainops_alert_hook.send import Hook, Refused

__all__ = ["AlertHook"]

log = logging.getLogger("chainops")
REMEMBERED = 10_000


class AlertHook(Follower):
    """Posts alerts to a webhook; nothing of it runs inside a call.

    Args:
        hook: to where.
        events: which, see ``alerts_in``.
        bounds: of scores.
        quiet_s: the same alert (event, graph, and which error, budget or score) is sent once in so many seconds; the
            next one says how many were left out.
        text: also send messages of errors and comments of scores, which may hold what users wrote.
        clock: seconds, for tests.
        every_s, close_s: as in ``Follower``.
    """

    name: ClassVar[str] = "alert_hook"
    plugin: ClassVar[str] = "alert_hook"
    migrations: ClassVar[tuple[str, ...]] = (follow_table("alert_hook"),)

    def __init__(
        self,
        hook: Hook,
        *,
        events: Sequence[str] = ("error", "budget", "score"),
        bounds: Sequence[Bounds] = (),
        quiet_s: float = 300.0,
        text: bool = False,
        clock: Callable[[], float] = time.monotonic,
        every_s: float = 1.0,
        close_s: float = 5.0,
    ) -> None:
        super().__init__(every_s=every_s, close_s=close_s)
        self.hook, self.events, self.bounds = hook, tuple(events), tuple(bounds)
        self.quiet_s, self.text, self.clock = quiet_s, text, clock
        self._sent: OrderedDict[str, None] = OrderedDict()
        self._quiet: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def describe(self) -> Mapping[str, Any]:
        """Nothing: alerts change no answer."""
        return {}

    def deliver(self, found: Found) -> None:
        """Send the alerts in ``found``. Where one cannot be sent, those before it do not come again."""
        for alert in alerts_in(found, self.events, self.bounds, text=self.text):
            if alert.id not in self._sent:
                self._send(alert)
                _remember(self._sent, alert.id, None)

    def _send(self, alert: Alert) -> None:
        same, now = (alert.event, alert.topic), self.clock()
        last, left_out = self._quiet.get(same, (now - self.quiet_s, 0))
        if now - last < self.quiet_s:
            _remember(self._quiet, same, (last, left_out + 1))
            return
        at = datetime.fromtimestamp(alert.at_ns / 1e9, UTC).isoformat()
        body = {"event": alert.event, "id": alert.id, "at": at, **alert.details, "left_out": left_out}
        try:
            self.hook.send(alert.id, body)
        except Refused as error:
            log.warning("The alert %s is given up: %s", alert.id, error.message)
        _remember(self._quiet, same, (now, 0))


def _remember(where: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    where[key] = value
    if len(where) > REMEMBERED:
        where.popitem(last=False)
