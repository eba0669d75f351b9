"""The layer: it hands what the trace file gained to the collector."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from chainops.store.export import otlp_request
from chainops.store.follow import Follower, Found, follow_table
from chainops_otlp.send import Refused, Sender

__all__ = ["Otlp"]

log = logging.getLogger("chainops")
AT_ONCE = 500


class Otlp(Follower):
    """Sends every span that has ended to a collector, with the attributes of GenAI and OpenInference.

    Args:
        sender: to where.
        service, resource, content: see ``chainops.store.export.otlp_request``.
        every_s, close_s: as in ``Follower``.

    Attributes:
        sent: spans that the collector took.
        rejected: spans that it will not take, now or later.
    """

    name: ClassVar[str] = "otlp"
    plugin: ClassVar[str] = "otlp"
    migrations: ClassVar[tuple[str, ...]] = (follow_table("otlp"),)

    def __init__(
        self,
        sender: Sender,
        *,
        service: str = "chainops",
        resource: Mapping[str, str] | None = None,
        content: bool = True,
        every_s: float = 1.0,
        close_s: float = 5.0,
    ) -> None:
        super().__init__(every_s=every_s, close_s=close_s)
        self.sender, self.service, self.resource, self.content = sender, service, dict(resource or {}), content
        self.sent = self.rejected = 0

    def describe(self) -> Mapping[str, Any]:
        """Nothing: where traces go changes no answer."""
        return {}

    def deliver(self, found: Found) -> None:
        """Send spans; scores have no place in OTLP's traces."""
        for start in range(0, len(found.spans), AT_ONCE):
            self._send(found.spans[start : start + AT_ONCE])

    def _send(self, spans: list[Any]) -> None:
        body = otlp_request(spans, content=self.content, service=self.service, resource=self.resource)
        try:
            rejected = self.sender.send(body)
        except Refused as error:
            if len(spans) > 1:  # too large, or one of them is wrong: find out which
                self._send(spans[: len(spans) // 2])
                self._send(spans[len(spans) // 2 :])
                return
            rejected = 1
            log.warning("The collector does not take span %s of run %s: %s", spans[0][1].id, spans[0][0].run_id, error)
        self.sent += len(spans) - rejected
        self.rejected += rejected
