"""Follow a trace file from a thread of its own and hand on what ended: for plugins that send traces elsewhere.

Nothing of it is in the way of a call. What could not be handed on stays in the file and is tried again, also by the
next process; of several processes on one file one at a time does it.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from pathlib import Path
from typing import Any, ClassVar

from chainops.calls import Kind, NodeCall, NodeNext
from chainops.layer import Middleware
from chainops.store.followed import Found, Place, follow_table
from chainops.store.writer import flush_writers

__all__ = ["Follower", "Found", "follow_table"]

log = logging.getLogger("chainops")


class Follower(Middleware):
    """A layer that gives what ended to :meth:`deliver`, at least once; nothing of it runs inside a call.

    It begins with the first run that starts after it was made, and from then on misses none, of whichever process.

    Class attributes:
        plugin: name of the plugin. A plugin brings one follower at most.
        migrations: those of the plugin, ``follow_table(plugin)`` among them.

    Args:
        every_s: seconds between two looks.
        close_s: how long :meth:`close` waits for the last delivery.
    """

    plugin: ClassVar[str]
    migrations: ClassVar[tuple[str, ...]]
    inside: ClassVar[tuple[str, ...]] = ("trace",)
    kinds: ClassVar[frozenset[Kind]] = frozenset({"run"})
    suspends: ClassVar[bool] = False

    def __init__(self, *, every_s: float = 1.0, close_s: float = 5.0) -> None:
        self.every_s, self.close_s = every_s, close_s
        self._made_ns = time.time_ns()
        self._lock = threading.Lock()
        self._thread: _Thread | None = None
        _living.add(self)

    def deliver(self, found: Found) -> None:
        """Send what is new. Called in the follower's own thread; when it raises, the same comes again later."""
        raise NotImplementedError

    async def wrap_node_call(self, call: NodeCall, call_next: NodeNext) -> Any:
        """Sees to it that the file that the run is recorded in is followed."""
        file = call.recorder.trace_file
        if file is not None and (self._thread is None or not self._thread.alive):
            self._follow(file)
        return await call_next(call)

    def close(self) -> None:
        """Deliver what is in the file by now and stop; gives up after ``close_s`` seconds. A later run begins anew."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.stop(self.close_s)

    def _follow(self, file: Path) -> None:
        with self._lock:
            if self._thread is None or not self._thread.alive:
                self._thread = _Thread(self, Place(file, self.plugin, self.migrations, self._made_ns))
                self._thread.start()


class _Thread(threading.Thread):
    """Looks, delivers, notes how far it came; waits longer after each failure, up to a minute."""

    def __init__(self, follower: Follower, place: Place) -> None:
        super().__init__(name=f"chainops-{follower.plugin}", daemon=True)
        self.follower, self.place = follower, place
        self.closing = threading.Event()
        self.pid = os.getpid()

    @property
    def alive(self) -> bool:
        """False in the child of a fork, which has no threads of its parent."""
        return self.is_alive() and self.pid == os.getpid() and not self.closing.is_set()

    def stop(self, timeout: float) -> None:
        if self.pid == os.getpid():
            until = time.monotonic() + timeout
            flush_writers(self.place.file, timeout)
            self.closing.set()
            self.join(max(0.0, until - time.monotonic()))

    def run(self) -> None:
        pause, warned, last = 0.0, False, False
        try:
            while not last:
                last = self.closing.is_set()
                try:
                    while self._step(last):
                        continue
                    pause, warned = 0.0, False
                except Exception as error:  # noqa: BLE001  what a plugin raises must not end its thread
                    pause = min(60.0, max(self.follower.every_s, 2 * pause))
                    if not warned:
                        warned = True
                        log.warning("Plugin %s cannot deliver and tries again: %s", self.follower.plugin, error)
                if not last:
                    self.closing.wait(pause or self.follower.every_s)
        finally:
            self.place.close()

    def _step(self, last: bool) -> bool:
        """One look; true when there may be more."""
        if not self.place.mine():
            return False
        found = self.place.look(last)
        if found:
            self.follower.deliver(found)
        self.place.passed()
        return bool(found)


def _close_all() -> None:
    for follower in list(_living):
        follower.close()


_living: weakref.WeakSet[Follower] = weakref.WeakSet()
atexit.register(_close_all)  # runs before the writers are closed: theirs was registered earlier
