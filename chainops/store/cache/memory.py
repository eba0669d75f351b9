"""The entries used last, as objects; and a store for a cache that lives and dies with its process."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from chainops.store.cache.protocol import EVERYTHING, Entry, Pending, Tally

__all__ = ["LocalStore", "Recent"]


class Recent:
    """The entries used last, valid for one generation of the store below. For all threads.

    At most ``limit`` of them, and of those whose size is known (they have been written or read) at most ``max_bytes``.
    """

    def __init__(self, limit: int, max_bytes: int = 2**28) -> None:
        self.limit, self.max_bytes = limit, max_bytes
        self.bytes = 0
        self._sizes: dict[str, int] = {}
        self.generation = 0
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str, generation: int) -> Entry | None:
        """The entry, if nothing was invalidated since it came here."""
        with self._lock:
            if generation != self.generation:
                self._entries.clear()
                self._sizes.clear()
                self.bytes, self.generation = 0, generation
                return None
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
            return entry

    def put(self, entry: Entry, generation: int) -> None:
        """Keep ``entry``, unless something was invalidated since ``generation``."""
        with self._lock:
            if generation == self.generation:
                self._entries[entry.key] = entry
                self._entries.move_to_end(entry.key)
                if len(self._entries) > self.limit:
                    self._forget(next(iter(self._entries)))

    def weigh(self, key: str, size: int) -> None:
        """Say how many bytes an entry takes, as JSON; the ones used longest ago go when all together are too large."""
        with self._lock:
            if key in self._entries:
                self.bytes += size - self._sizes.get(key, 0)
                self._sizes[key] = size
                while self.bytes > self.max_bytes:
                    self._forget(next(iter(self._entries)))

    def drop(self, key: str) -> None:
        """Forget one."""
        with self._lock:
            if key in self._entries:
                self._forget(key)

    def _forget(self, key: str) -> None:
        del self._entries[key]
        self.bytes -= self._sizes.pop(key, 0)


class LocalStore:
    """A store in memory: what its process wrote, at most ``limit`` entries, oldest first out."""

    shared = False

    def __init__(self, limit: int = 10_000) -> None:
        self.limit = limit
        self._rows: OrderedDict[str, Pending] = OrderedDict()
        self._generation = 0
        self._invalidated: dict[str, int] = {}
        self._tally: dict[tuple[int, str, str], float] = {}
        self._notes: deque[tuple[str, bytes]] = deque(maxlen=1000)
        self._leases: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def generation(self) -> int:
        return self._generation

    def get(self, key: str) -> bytes | None:
        row = self._rows.get(key)
        return None if row is None or (row.gone is not None and row.gone <= time.time()) else row.data

    def write(self, batch: Sequence[Pending]) -> int:
        written = 0
        with self._lock:
            for row in batch:
                if all(self._invalidated.get(tag, 0) <= row.seen for tag in (*row.tags, EVERYTHING)):
                    self._rows[row.key] = row
                    self._rows.move_to_end(row.key)
                    written += 1
            while len(self._rows) > self.limit:
                self._rows.popitem(last=False)
        return written

    def invalidate(self, tags: Iterable[str]) -> int:
        wanted = set(tags)
        with self._lock:
            self._invalidated.update(dict.fromkeys(wanted, self._generation + 1))
            gone = [k for k, row in self._rows.items() if EVERYTHING in wanted or wanted.intersection(row.tags)]
            for key in gone:
                del self._rows[key]
            self._generation += 1
        return len(gone)

    def keys(self, prefix: str = "") -> Iterator[str]:
        with self._lock:
            rows = list(self._rows.values())
        now = time.time()
        return (row.key for row in rows if row.key.startswith(prefix) and (row.gone is None or row.gone > now))

    def lease(self, key: str, owner: str, seconds: float) -> bool:
        with self._lock:
            holder, until = self._leases.get(key, (owner, 0.0))
            if holder != owner and until > time.time():
                return False
            self._leases[key] = owner, time.time() + seconds
            return True

    def renew(self, owner: str, seconds: float) -> None:
        with self._lock:
            mine = [key for key, (holder, _) in self._leases.items() if holder == owner]
            self._leases.update(dict.fromkeys(mine, (owner, time.time() + seconds)))

    def release(self, key: str, owner: str) -> None:
        with self._lock:
            if self._leases.get(key, ("", 0.0))[0] == owner:
                del self._leases[key]

    def count(self, tally: Tally) -> None:
        with self._lock:
            for name, n in tally.items():
                self._tally[name] = self._tally.get(name, 0) + n

    def counted(self) -> dict[tuple[int, str, str], float]:
        return dict(self._tally)

    def note(self, key: str, data: bytes) -> None:
        self._notes.append((key, data))

    def noted(self, prefix: str) -> list[tuple[str, bytes]]:
        return [note for note in islice(reversed(self._notes), 1000) if note[0].startswith(prefix)]

    def size(self) -> tuple[int, int]:
        with self._lock:
            return len(self._rows), sum(len(row.data) for row in self._rows.values())

    def close(self) -> None:
        return None
