"""How often something was invalidated, known to each process without asking the server.

Each process listens, and says so by a ping twice a second. Who invalidates waits until all listeners have said that
they know, or until those that did not must know that they know nothing: a listener trusts its number for ``TRUST_S``
after it *sent* a ping that was answered. The answer comes over the connection that the news come over, and after them,
so whoever trusts a ping that was sent after an invalidation has heard of it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from chainops_redis.server import Server

__all__ = ["Generation"]

TRUST_S = 2.0
PING_S = 0.5


class Generation:
    """The number for one cache. For all threads, and after a fork too.

    Args:
        ask: asks the server for the number; raises ``StoreError``.
    """

    def __init__(self, server: Server, channel: str, ask: Callable[[], int]) -> None:
        self._server, self._channel, self._ask = server, channel, ask
        self._lock = threading.Lock()
        self._unknown = 0
        self._reset()

    def _reset(self) -> None:
        self._pid, self._value, self._trusted_until = os.getpid(), 0, 0.0
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._retry_at = 0.0

    def value(self) -> int:
        """The number. Where the server cannot be asked: less than 0, and another one each time.

        Nothing kept in the process is then used, and nothing is stored whose tags were ever invalidated.
        """
        now = time.monotonic()
        if now < self._trusted_until and self._pid == os.getpid():
            return self._value
        with self._lock:
            if self._pid != os.getpid():
                self._reset()
            if self._thread is None and not self._ended.is_set():
                self._thread = threading.Thread(target=self._listen, name="chainops-redis", daemon=True)
                self._thread.start()
        if now >= self._retry_at:
            try:
                return self._ask()
            except Exception:  # noqa: BLE001 - whatever is wrong, the number is not known
                self._retry_at = time.monotonic() + 1.0
        self._unknown -= 1
        return self._unknown

    def wait_for(self, number: int, listeners: int) -> None:
        """Wait until ``listeners`` know of ``number``, or do not trust what they know any more."""
        deadline = time.monotonic() + TRUST_S + PING_S
        known = 0
        while known < listeners and (left := deadline - time.monotonic()) > 0:
            with self._server.reached():
                known += self._server.client.blpop(self._known(number), timeout=min(left, 0.2)) is not None

    def close(self) -> None:
        """Stop listening."""
        self._ended.set()
        thread = self._thread
        if thread is not None and self._pid == os.getpid():
            thread.join(5)

    def _known(self, number: int) -> str:
        return f"{self._channel}:known:{number}"

    def _listen(self) -> None:
        ended = self._ended
        while not ended.is_set():
            try:
                self._hear(ended)
            except Exception:  # noqa: BLE001 - until the server is there again, value() asks
                self._trusted_until = 0.0
                ended.wait(PING_S)

    def _hear(self, ended: threading.Event) -> None:
        pubsub = self._server.client.pubsub()
        try:
            pubsub.subscribe(self._channel)
            subscribed, sent, next_ping, awaited = False, 0.0, 0.0, False
            while not ended.is_set():
                now = time.monotonic()
                if subscribed and not awaited and now >= next_ping:
                    sent, next_ping, awaited = now, now + PING_S, True
                    pubsub.ping()
                if awaited and now > sent + TRUST_S:
                    raise ConnectionError("the ping was not answered")
                message = pubsub.get_message(timeout=0.1)
                if message is None:
                    continue
                if message["type"] == "subscribe":
                    subscribed = True
                    self._value = self._ask()  # what was missed before
                elif message["type"] == "pong":
                    awaited, self._trusted_until = False, sent + TRUST_S
                elif message["type"] == "message":
                    self._hear_of(int(message["data"]))
        finally:
            self._trusted_until = 0.0
            pubsub.close()

    def _hear_of(self, number: int) -> None:
        self._value = max(self._value, number)
        known: Any = self._known(number)
        with self._server.client.pipeline() as both:
            both.rpush(known, 1)
            both.expire(known, 10)
            both.execute()
