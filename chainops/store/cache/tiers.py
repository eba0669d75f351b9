"""The cache as layers use it: recent entries as objects, all of them as bytes in a store, written behind."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from chainops.errors import ChainopsError
from chainops.store.cache.behind import Behind
from chainops.store.cache.codec import decode, encode
from chainops.store.cache.memory import LocalStore, Recent
from chainops.store.cache.protocol import EVERYTHING, CacheStore, Entry, Pending

__all__ = ["Tiers", "open_tiers"]

log = logging.getLogger("chainops")
MAX_ENTRY = 16 * 2**20


class Tiers:
    """An LRU over ``store``. For all threads and event loops.

    Args:
        recent: entries kept as objects.
        early: how eagerly an entry is made anew before it expires (XFetch); 0: never. At 1, an entry that took a
            second to make is most likely made anew in its last seconds, by one caller.
        clock: seconds since 1970; for tests.
    """

    def __init__(
        self,
        store: CacheStore,
        *,
        recent: int = 2000,
        early: float = 1.0,
        clock: Callable[[], float] = time.time,
        lease_s: float = 5.0,
    ) -> None:
        self.store = store
        self.recent = Recent(recent)
        self.behind = Behind(store, lease_s=lease_s)
        self.early = early
        self.clock = clock
        self._warned = False

    def generation(self) -> int:
        """See :meth:`CacheStore.generation`: take it before the call whose answer is put."""
        return self.store.generation()

    def get(self, key: str) -> Entry | None:
        """The entry under ``key`` that may still be served, stale or not. Its value belongs to the cache.

        From the LRU in a microsecond; else a read of one row on this thread: about 15 us, less than a hop to another
        thread and back, and SQLite's readers wait for no writer.
        """
        generation = self.store.generation()
        entry = self.recent.get(key, generation)
        if entry is None:
            entry = self._stored(key, generation)
            if entry is None:
                return None
        gone = entry.expires if entry.stale_until is None else entry.stale_until
        return entry if gone is None or self.clock() < gone else None

    def is_due(self, entry: Entry) -> bool:
        """Whether this caller should make it anew: it has expired, or will soon and this caller was chosen."""
        if entry.expires is None:
            return False
        left, eager = entry.expires - self.clock(), entry.ms / 1000 * self.early
        if left > 40 * eager:  # the logarithm below is never above 37
            return left <= 0
        # XFetch (Vattani, Chierichetti, Lowenstein 2015): the chance grows as the end comes near
        return left <= -eager * math.log(1.0 - random.random())  # noqa: S311 - no secret

    def put(self, entry: Entry, seen: int) -> None:
        """Keep ``entry``, unless one of its tags was invalidated since ``seen``. Costs a few microseconds."""
        self.recent.put(entry, seen)
        self.behind.put(lambda: self._pending(entry, seen))

    def invalidate(self, tags: Iterable[str]) -> int:
        """Forget what has one of ``tags``, in every process; how many entries were stored. Blocks."""
        wanted = list(tags)
        return self.store.invalidate(wanted) if wanted else 0

    def clear(self) -> int:
        """Forget everything."""
        return self.store.invalidate([EVERYTHING])

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything put so far is stored."""
        return self.behind.flush(timeout)

    def close(self) -> None:
        """Store what waits and let go of files."""
        self.behind.close()
        self.store.close()

    def _stored(self, key: str, generation: int) -> Entry | None:
        try:
            data = self.store.get(key)
            if data is None:
                return None
            entry = read_entry(key, data)
            self.recent.put(entry, generation)
            self.recent.weigh(key, len(data))
            return entry
        except (ChainopsError, ValueError, OSError) as error:
            self._warn(error)
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the call goes on without it
            self._warn(error)
        return None

    def _pending(self, entry: Entry, seen: int) -> Pending | None:
        data = write_entry(entry)
        if len(data) > MAX_ENTRY:
            self.recent.drop(entry.key)
            return None
        self.recent.weigh(entry.key, len(data))
        return Pending(entry.key, data, entry.gone, (*entry.tags, f"key:{entry.key}"), seen)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            log.warning("The cache cannot be read, and calls go on without: %s", error)


def write_entry(entry: Entry) -> bytes:
    """An entry as JSON. Its ``parts`` are shortened, in the object too: the LRU need not keep whole inputs."""
    entry.parts = brief(entry.parts)
    row = {name: getattr(entry, name) for name in _FIELDS}
    return orjson.dumps({**row, "parts": entry.parts, "value": encode(entry.value)})


_FIELDS = ("kind", "node", "created", "expires", "stale_until", "ms", "tokens", "micro", "tags")


def read_entry(key: str, data: bytes) -> Entry:
    """The entry that :func:`write_entry` wrote. Raises ``ValueError`` for anything else."""
    row = orjson.loads(data)
    if not isinstance(row, dict) or "value" not in row or not row.keys() >= set(_FIELDS):
        raise ValueError(f"no entry of a cache under {key}")
    fields = {name: row[name] for name in _FIELDS}
    fields["tags"] = tuple(fields["tags"])
    return Entry(key=key, value=decode(row["value"]), parts=row.get("parts") or {}, **fields)


def brief(parts: Mapping[str, Any]) -> dict[str, Any]:
    """What a key was made of, with everything long replaced by its hash: enough to say what differs."""
    import hashlib

    def short(value: Any) -> Any:
        data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        return value if len(data) <= 200 else {"hash": hashlib.blake2b(data, digest_size=8).hexdigest()}

    return {
        name: [short(item) for item in value] if name == "messages" and isinstance(value, list) else short(value)
        for name, value in parts.items()
    }


def open_tiers(directory: str | Path | None, *, size_limit: int = 2**30, **options: Any) -> Tiers:
    """A cache in ``directory``, shared by all processes that use it; None: in this process only.

    Raises:
        StoreError: code ``cache.directory`` or ``cache.file``.
    """
    if directory is None:
        return Tiers(LocalStore(), **options)
    from chainops.store.cache.files import FileStore

    return Tiers(FileStore(directory, size_limit=size_limit), **options)
