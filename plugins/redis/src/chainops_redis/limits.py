"""Counts of limits in Redis: one clock, the server's, and one order for all machines."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import suppress

from chainops.errors import StoreError
from chainops.middleware.limits.shared import Admission
from chainops_redis.server import Server

__all__ = ["RedisLimits"]

FAR_S = 86_400
ADMIT = """
local meter, place, t = KEYS[1], KEYS[2], redis.call('TIME')
local now = t[1] + t[2] / 1000000
local owner, places, waited, place_s, wait = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), 0
if places >= 0 then
  redis.call('ZREMRANGEBYSCORE', place, '-inf', now)
  if redis.call('ZCARD', place) >= places then return false end
end
for i = 5, #ARGV, 4 do
  local rate, amount = ARGV[i], tonumber(ARGV[i + 1])
  local interval, tolerance = tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local at = tonumber(redis.call('HGET', meter, rate) or 0)
  if at >= now + FAR then at = 0 end
  wait = math.max(wait, at - tolerance - now)
  redis.call('HSET', meter, rate, string.format('%.6f', math.max(at, now - waited) + amount * interval))
end
if #ARGV > 4 then redis.call('EXPIRE', meter, 2 * FAR) end
if places >= 0 then
  redis.call('ZADD', place, string.format('%.6f', now + place_s), owner)
  redis.call('EXPIRE', place, FAR)
end
return string.format('%.6f', wait)
""".replace("FAR", str(FAR_S))
SETTLE = """
for i = 1, #ARGV, 2 do
  local at = redis.call('HGET', KEYS[1], ARGV[i])
  if at then redis.call('HSET', KEYS[1], ARGV[i], string.format('%.6f', tonumber(at) - tonumber(ARGV[i + 1]))) end
end
"""
KEEP = """
local t = redis.call('TIME')
local until_ = string.format('%.6f', t[1] + t[2] / 1000000 + tonumber(ARGV[1]))
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', until_, ARGV[i]) end
"""


class RedisLimits:
    """A ``LimitStore`` of chainops. A process that is killed leaves its places until ``place_s`` have passed.

    Args:
        url, prefix, timeout_s: as of ``RedisCache``.
        place_s: seconds that a place is held without a word from its process, which says one every third of it.

    Raises:
        StoreError: the server cannot be used (``redis.server``). From all methods: a call is then refused.
    """

    def __init__(self, url: str, *, prefix: str = "chainops", timeout_s: float = 0.5, place_s: float = 15.0) -> None:
        self._server, self._prefix, self._place_s = Server(url, timeout_s=timeout_s), f"{{{prefix}}}:limits:", place_s
        self._server.keeps_what_has_no_time()
        self._admit, self._settle, self._keep = map(self._server.script, (ADMIT, SETTLE, KEEP))
        self._held: set[tuple[str, str]] = set()
        self._lock, self._ended, self._pid = threading.Lock(), threading.Event(), os.getpid()
        self._thread: threading.Thread | None = None

    def admit(self, asked: Admission) -> float | None:
        """As ``LimitStore.admit``."""
        rates = [word for rate, numbers in asked.rates.items() for word in (rate, *numbers)]
        places = -1 if asked.places is None else asked.places
        said = self._admit(
            [self._meter(asked.key), self._place(asked.key)],
            [asked.owner, places, asked.waited_s, self._place_s, *rates],
        )
        if said is None:
            return None
        if asked.places is not None:
            self._hold(asked.key, asked.owner)
        return float(said)

    def settle(self, key: str, seconds: Sequence[tuple[str, float]]) -> None:
        """As ``LimitStore.settle``."""
        self._settle([self._meter(key)], [word for pair in seconds for word in pair])

    def release(self, key: str, owner: str) -> None:
        """As ``LimitStore.release``."""
        with self._lock:
            self._held.discard((key, owner))
        with self._server.reached():
            self._server.client.zrem(self._place(key), owner)

    def close(self) -> None:
        """Stop holding places, and close the connections."""
        self._ended.set()
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join(5)
        self._server.close()

    def _meter(self, key: str) -> str:
        return f"{self._prefix}meter:{key}"

    def _place(self, key: str) -> str:
        return f"{self._prefix}place:{key}"

    def _hold(self, key: str, owner: str) -> None:
        with self._lock:
            if self._pid != os.getpid():  # after a fork: the places are the parent's, which holds them
                self._pid, self._held, self._thread = os.getpid(), set(), None
            self._held.add((key, owner))
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep_places, name="chainops-redis-places", daemon=True)
                self._thread.start()

    def _keep_places(self) -> None:
        while not self._ended.wait(self._place_s / 3):
            with self._lock:
                held = list(self._held)
            by_key: dict[str, list[str]] = {}
            for key, owner in held:
                by_key.setdefault(key, []).append(owner)
            for key, owners in by_key.items():
                with suppress(StoreError):  # the next time; until then the server may give a place away
                    self._keep([self._place(key)], [self._place_s, *owners])
