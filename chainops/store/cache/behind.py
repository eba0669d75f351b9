"""Writes behind the caller's back: one thread that encodes entries and puts them into the store in batches."""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from chainops.store.cache.protocol import CacheStore, Pending

__all__ = ["Behind"]

log = logging.getLogger("chainops")
MAX_WAITING = 10_000
MAX_BATCH = 500
COUNT_EVERY_S = 1.0
GATHER_S = 0.002
"""More entries come together in that time, and the caller of the first is not slowed down by this thread at once."""

Job = tuple[str, Any]


class Behind:
    """The queue in front of ``store`` and the thread behind it, which starts with the first job.

    A job costs the caller a microsecond. What does not fit into the queue is not cached, and counted in ``dropped``.
    """

    def __init__(self, store: CacheStore, *, lease_s: float = 5.0) -> None:
        self.store = store
        self.lease_s = lease_s
        self.owner = f"{os.getpid()}-{os.urandom(6).hex()}"
        self.dropped = 0
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._tally: dict[tuple[int, str, str], float] = {}
        self._leases: set[str] = set()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._warned = False
        _OPEN.add(self)

    def put(self, make: Callable[[], Pending | None]) -> None:
        """Write what ``make`` returns, and make it on the thread."""
        if self._jobs.qsize() >= MAX_WAITING:
            self.dropped += 1
        else:
            self._send("write", make)

    def note(self, key: str, make: Callable[[], bytes]) -> None:
        """Remember ``make()`` under ``key``."""
        if self._jobs.qsize() < MAX_WAITING:
            self._send("note", (key, make))

    def add(self, kind: str, counts: Mapping[str, float]) -> None:
        """Add to counters; they are in the store about a second later."""
        hour = int(time.time() // 3600)
        with self._lock:
            tally = self._tally
            first = not tally
            for what, n in counts.items():
                if n:
                    tally[hour, kind, what] = tally.get((hour, kind, what), 0) + n
        if first:
            self._send("count", None)

    def leased(self, key: str) -> None:
        """Keep this lease until it is released."""
        self._send("leased", key)

    def release(self, key: str) -> None:
        """Give the lease back, after everything that was put before."""
        self._send("release", key)

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything put so far is in the store. False after ``timeout`` seconds."""
        if self._thread is None or not self._thread.is_alive():
            try:
                self._count()
            except Exception as error:  # noqa: BLE001 - as on the thread
                self._warn(error)
            return True
        done = threading.Event()
        self._send("flush", done)
        return done.wait(timeout)

    def close(self, timeout: float = 10.0) -> None:
        """Write what waits and end the thread. Later jobs start it again."""
        self.flush(timeout)
        thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive():
            self._jobs.put(("end", None))
            thread.join(timeout)

    def _send(self, what: str, payload: Any) -> None:
        if self._thread is None or self._pid != os.getpid():
            self._start()
        self._jobs.put((what, payload))

    def _start(self) -> None:
        with self._lock:
            if self._pid != os.getpid():  # after a fork: the thread stayed in the parent, which does its own jobs
                self._pid, self._jobs, self._leases = os.getpid(), queue.SimpleQueue(), set()
                self.owner = f"{os.getpid()}-{os.urandom(6).hex()}"
                self._thread = None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="chainops-cache", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        jobs, renewed, counted = self._jobs, time.monotonic(), time.monotonic()
        while True:
            batch = _drain(jobs, self._patience())
            now = time.monotonic()
            try:
                self._work(batch)
                if self._leases and now - renewed > self.lease_s / 3:
                    renewed = now
                    self.store.renew(self.owner, self.lease_s)
                if now - counted > COUNT_EVERY_S:
                    counted = now
                    self._count()
            except Exception as error:  # noqa: BLE001 - a cache that cannot write is a slow one, not a broken run
                self._warn(error)
            for what, payload in batch:
                if what == "flush":
                    payload.set()
            if any(what == "end" for what, _ in batch):
                return

    def _patience(self) -> float | None:
        if self._leases:
            return self.lease_s / 3
        return COUNT_EVERY_S if self._tally else None

    def _work(self, batch: list[Job]) -> None:
        rows: list[Pending] = []
        for what, payload in batch:
            if what == "write":
                row = self._made(payload)
                if row is not None:
                    rows.append(row)
                continue
            if rows:
                self.store.write(rows)
                rows = []
            self._do(what, payload)
        if rows:
            self.store.write(rows)

    def _do(self, what: str, payload: Any) -> None:
        if what == "note":
            self.store.note(payload[0], payload[1]())
        elif what == "leased":
            self._leases.add(payload)
        elif what == "release":
            self._leases.discard(payload)
            self.store.release(payload, self.owner)
        elif what == "flush":
            self._count()

    def _made(self, make: Callable[[], Pending | None]) -> Pending | None:
        try:
            return make()
        except Exception as error:  # noqa: BLE001
            self._warn(error)
            return None

    def _count(self) -> None:
        with self._lock:
            tally, self._tally = self._tally, {}
        if tally:
            self.store.count(tally)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            log.warning("The cache cannot be written, and calls go on without: %r", error)


def _drain(jobs: queue.SimpleQueue[Job], patience: float | None) -> list[Job]:
    """Everything that waits; empty when nothing came for ``patience`` seconds."""
    batch: list[Job] = []
    with suppress(queue.Empty):
        batch.append(jobs.get(timeout=patience))
        if batch[0][0] == "write":
            time.sleep(GATHER_S)
        while len(batch) < MAX_BATCH:
            batch.append(jobs.get_nowait())
    return batch


_OPEN: weakref.WeakSet[Behind] = weakref.WeakSet()


@atexit.register
def _flush_all() -> None:
    for behind in list(_OPEN):
        behind.flush(2.0)
