"""Cached answers in Redis, for all processes and machines that name the same prefix.

An entry is a hash with its bytes and its tags; a tag is a sorted set of keys by when they are gone. All keys of a
prefix have one hash tag, so that a cluster keeps them together and a script may use several of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from chainops.store.cache import Pending
from chainops.store.cache.protocol import EVERYTHING, Tally
from chainops_redis.generation import Generation
from chainops_redis.server import Server

__all__ = ["RedisCache"]

NOTES = 1000
AT_ONCE = 500
FORGET_S = 7 * 86_400
"""No call takes longer: what was invalidated before that cannot be overtaken any more."""
FIRST = "local p = KEYS[1]; local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
WRITE = (
    FIRST
    + """
local key, data, seen, px, tags = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), {}
for i = 5, #ARGV do tags[i - 4] = ARGV[i] end
local newest = tonumber(redis.call('HGET', p .. 'invalidated', '*') or 0)
for _, tag in ipairs(tags) do
  newest = math.max(newest, tonumber(redis.call('HGET', p .. 'invalidated', tag) or 0))
end
if newest > seen then return 0 end
local old = redis.call('HGET', p .. 'entry:' .. key, 'tags')
if old then for _, tag in ipairs(cmsgpack.unpack(old)) do redis.call('ZREM', p .. 'tag:' .. tag, key) end end
redis.call('HSET', p .. 'entry:' .. key, 'data', data, 'tags', cmsgpack.pack(tags))
redis.call('PEXPIRE', p .. 'entry:' .. key, px)
tags[#tags + 1] = '*'
for _, tag in ipairs(tags) do
  redis.call('ZREMRANGEBYSCORE', p .. 'tag:' .. tag, '-inf', now)
  redis.call('ZADD', p .. 'tag:' .. tag, now + px, key)
end
return 1
"""
)
INVALIDATE = (
    FIRST
    + """
local number = math.max(tonumber(redis.call('GET', p .. 'generation') or 0) + 1, t[1] * 1000000 + t[2])
local said, gone = string.format('%.0f', number), 0
redis.call('SET', p .. 'generation', said)
for _, tag in ipairs(ARGV) do
  redis.call('HSET', p .. 'invalidated', tag, said)
  redis.call('ZADD', p .. 'invalidated-at', now, tag)
  for _, key in ipairs(redis.call('ZRANGE', p .. 'tag:' .. tag, 0, -1)) do
    gone = gone + redis.call('DEL', p .. 'entry:' .. key)
    redis.call('ZREM', p .. 'tag:*', key)
  end
  redis.call('DEL', p .. 'tag:' .. tag)
end
for _, tag in ipairs(redis.call('ZRANGEBYSCORE', p .. 'invalidated-at', '-inf', now - FORGET)) do
  redis.call('HDEL', p .. 'invalidated', tag)
  redis.call('ZREM', p .. 'invalidated-at', tag)
end
return {gone, said, redis.call('PUBLISH', p .. 'generation', said)}
""".replace("FORGET", str(FORGET_S * 1000))
)
LEASE = """
local p, key, owner, px = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local holder = redis.call('GET', p .. 'lease:' .. key)
if holder and holder ~= owner then return 0 end
redis.call('SET', p .. 'lease:' .. key, owner, 'PX', px)
redis.call('SADD', p .. 'leases:' .. owner, key)
redis.call('EXPIRE', p .. 'leases:' .. owner, 86400)
return 1
"""
RENEW = """
local p, owner, px = KEYS[1], ARGV[1], ARGV[2]
for _, key in ipairs(redis.call('SMEMBERS', p .. 'leases:' .. owner)) do
  if redis.call('GET', p .. 'lease:' .. key) == owner then redis.call('PEXPIRE', p .. 'lease:' .. key, px)
  else redis.call('SREM', p .. 'leases:' .. owner, key) end
end
redis.call('EXPIRE', p .. 'leases:' .. owner, 86400)
"""
RELEASE = """
local p, key, owner = KEYS[1], ARGV[1], ARGV[2]
if redis.call('GET', p .. 'lease:' .. key) == owner then redis.call('DEL', p .. 'lease:' .. key) end
redis.call('SREM', p .. 'leases:' .. owner, key)
"""


class RedisCache:
    """A ``CacheStore`` of chainops. Everything blocks but ``generation``; ``get`` for one request to the server.

    Args:
        url: ``redis://host:port/number``.
        prefix: of all keys.
        timeout_s: seconds that a request may take. After one that failed, none is made for a second.
        keep_s: seconds that an entry is kept which never expires.

    Raises:
        StoreError: the server cannot be used, or may forget the books of the cache (``redis.server``).
    """

    shared = True

    def __init__(self, url: str, *, prefix: str = "chainops", timeout_s: float = 0.5, keep_s: float = 2.6e6) -> None:
        self._server, self._prefix, self._keep_s = Server(url, timeout_s=timeout_s), f"{{{prefix}}}:cache:", keep_s
        self._server.keeps_what_has_no_time()
        self._write, self._invalidate, self._lease, self._renew, self._release = map(
            self._server.script, (WRITE, INVALIDATE, LEASE, RENEW, RELEASE)
        )
        self._generation = Generation(self._server, f"{self._prefix}generation", self._stored_generation)
        self._rests_until = 0.0

    def _stored_generation(self) -> int:
        with self._server.reached():
            return int(self._server.client.get(f"{self._prefix}generation") or 0)

    def generation(self) -> int:
        return self._generation.value()

    def get(self, key: str) -> bytes | None:
        if time.monotonic() < self._rests_until:
            return None
        try:
            with self._server.reached():
                found: bytes | None = self._server.client.hget(f"{self._prefix}entry:{key}", "data")
                return found
        except BaseException:
            self._rests_until = time.monotonic() + 1.0
            raise

    def write(self, batch: Sequence[Pending]) -> int:
        now, written = time.time(), 0
        for row in batch:
            seconds = self._keep_s if row.gone is None else row.gone - now
            if seconds > 0:
                args = [row.key, row.data, row.seen, max(1, int(seconds * 1000)), *row.tags]
                written += int(self._write([self._prefix], args))
        return written

    def invalidate(self, tags: Iterable[str]) -> int:
        """Returns when every process knows, at the latest after some 2 seconds."""
        gone, number, listeners = self._invalidate([self._prefix], sorted(set(tags)))
        self._generation.wait_for(int(number), int(listeners))
        return int(gone)

    def keys(self, prefix: str = "") -> Iterator[str]:
        return iter([key for key, size in self._sizes() if size and key.startswith(prefix)])

    def lease(self, key: str, owner: str, seconds: float) -> bool:
        return bool(self._lease([self._prefix], [key, owner, max(1, int(seconds * 1000))]))

    def renew(self, owner: str, seconds: float) -> None:
        self._renew([self._prefix], [owner, max(1, int(seconds * 1000))])

    def release(self, key: str, owner: str) -> None:
        self._release([self._prefix], [key, owner])

    def count(self, tally: Tally) -> None:
        with self._server.reached(), self._server.client.pipeline() as all_of_them:
            for name, n in tally.items():
                all_of_them.hincrbyfloat(f"{self._prefix}counted", json.dumps(name), n)
            all_of_them.execute()

    def counted(self) -> dict[tuple[int, str, str], float]:
        with self._server.reached():
            rows: dict[bytes, bytes] = self._server.client.hgetall(f"{self._prefix}counted")
        names: dict[bytes, Any] = {name: json.loads(name) for name in rows}
        return {(hour, kind, what): float(rows[name]) for name, (hour, kind, what) in names.items()}

    def note(self, key: str, data: bytes) -> None:
        with self._server.reached(), self._server.client.pipeline() as both:
            both.lpush(f"{self._prefix}notes", key.encode() + b"\n" + data)
            both.ltrim(f"{self._prefix}notes", 0, NOTES - 1)
            both.execute()

    def noted(self, prefix: str) -> list[tuple[str, bytes]]:
        with self._server.reached():
            notes = self._server.client.lrange(f"{self._prefix}notes", 0, -1)
        pairs = [note.split(b"\n", 1) for note in notes]
        return [(key.decode(), data) for key, data in pairs if key.decode().startswith(prefix)]

    def size(self) -> tuple[int, int]:
        sizes = [size for _, size in self._sizes() if size]
        return len(sizes), sum(sizes)

    def _sizes(self) -> list[tuple[str, int]]:
        """All keys that were written and their bytes; 0: expired, or evicted by the server."""
        found: list[tuple[str, int]] = []
        with self._server.reached():
            keys = [key.decode() for key in self._server.client.zrevrange(f"{self._prefix}tag:{EVERYTHING}", 0, -1)]
            for at in range(0, len(keys), AT_ONCE):
                some = keys[at : at + AT_ONCE]
                with self._server.client.pipeline(transaction=False) as asked:
                    for key in some:
                        asked.hstrlen(f"{self._prefix}entry:{key}", "data")
                    found += zip(some, asked.execute(), strict=True)
        return found

    def close(self) -> None:
        self._generation.close()
        self._server.close()
