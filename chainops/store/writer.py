"""The one thread per file that writes spans: callers put small objects into a queue, it commits them in batches.

Callers never wait for the disk, and never see an error of it. What the writer guarantees is written down in
``docs/reference/trace-file.md``.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from pathlib import Path

from chainops.store.drain import Drain
from chainops.store.file import TraceFile
from chainops.store.options import WriterOptions, WriterStats
from chainops.store.records import ABSENT, JudgedRecord, NoteRecord, ScoreRecord, SpanRecord

__all__ = ["Writer", "flush_writers", "shared_writer"]

log = logging.getLogger("chainops")


class Writer(Drain):
    """Writes into one file. Made on the first span; any thread may call any method.

    ``closed`` is true once it takes no more spans.

    Args:
        path: the file; made when it does not exist.
        options: see :class:`WriterOptions`.
    """

    def __init__(self, path: str | Path, options: WriterOptions | None = None) -> None:
        super().__init__(path, options)
        self._max_queue = self.options.max_queue
        self._batch_rows = self.options.batch_rows
        _living.add(self)

    def opened(self, span: SpanRecord) -> bool:
        """Take note of a span that starts now. False when it is dropped; its end must then not be reported."""
        if self.closed:
            self.drop(1)
            return False
        if len(self._queue) >= self._max_queue and not self._make_room(span):
            return False
        self._open[span] = None
        if self._idle:
            self._rouse()
        return True

    def ended(self, span: SpanRecord) -> None:
        """Take a span that has ended. It must not change any more."""
        # A span that is not there was dropped, has ended before, or was begun by the parent of a forked process.
        if self._open.pop(span, ABSENT) is None:
            self._queue.append(span)
            if self._resting or len(self._queue) == self._batch_rows:
                self._rouse()

    def add(self, record: ScoreRecord | JudgedRecord | NoteRecord) -> None:
        """Take a score, judgements, or attributes that arrived after their span had ended."""
        if self.closed:
            return
        self._queue.append(record)
        if self._resting:
            self._rouse()

    def flush(self, timeout: float = 10.0) -> int:
        """Wait until everything handed over so far was committed, or failed to be; how many ended spans are durable.

        Spans that still run are stored as ``open``.
        """
        if self._thread is not None and threading.current_thread() is not self._thread:
            done = threading.Event()
            self._queue.append(done)
            self._rouse()
            done.wait(timeout)
        return self._durable

    def close(self, timeout: float = 10.0) -> WriterStats:
        """Store what waits, spans that still run as ``interrupted``, and let go of the file. Returns the balance."""
        self.closed = True
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            self._rouse()
            thread.join(timeout)
        _living.discard(self)
        stats = self.stats
        if stats.dropped:
            log.error("%d spans could not be stored in %s", stats.dropped, self.path)
        return stats

    @property
    def stats(self) -> WriterStats:
        """The balance so far."""
        waiting = sum(1 for item in list(self._queue) if isinstance(item, SpanRecord)) + len(self._batch.ended)
        return WriterStats(self._durable, waiting, self._dropped, self.payloads_dropped, self._failures)

    @property
    def dropped(self) -> int:
        """Spans of this process that will never be in the file."""
        return self._dropped

    def forget(self) -> TraceFile:
        """Start afresh in a forked child. Returns the parent's hold on the file, which must stay untouched."""
        file = self._file
        self._reset()
        return file

    def _make_room(self, span: SpanRecord) -> bool:
        options = self.options
        if options.on_full == "block":
            deadline = time.monotonic() + options.block_s
            while len(self._queue) >= options.max_queue and time.monotonic() < deadline:
                self._rouse()
                time.sleep(0.001)
            if len(self._queue) < options.max_queue:
                return True
        elif options.on_full == "drop_payload" and len(self._queue) < 2 * options.max_queue:
            span.input = ABSENT
            span.attach({"payload_dropped": True})
            self.payloads_dropped += 1
            return True
        self.drop(1)
        return False

    def drop(self, count: int) -> None:
        """Count spans that will never be stored, and warn the first time."""
        with self._drop_lock:
            self._dropped += count
        self._warn(f"Spans are not stored in {self.path}: too many wait", "Raise max_queue, or find out what is slow.")

    def _rouse(self) -> None:
        if self._thread is None:
            with self._start_lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._loop, name="chainops-trace", daemon=True)
                    self._thread.start()
        self._wake.set()


class _Shared:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.writers: weakref.WeakValueDictionary[tuple[str, WriterOptions], Writer] = weakref.WeakValueDictionary()


def shared_writer(path: str | Path, options: WriterOptions) -> Writer:
    """The writer of this process for that file and these options: one thread, however many ask for it."""
    with _shared.lock:
        key = (str(Path(path).absolute()), options)
        writer = _shared.writers.get(key)
        if writer is None or writer.closed:
            writer = _shared.writers[key] = Writer(path, options)
        return writer


def flush_writers(path: str | Path, timeout: float = 10.0) -> None:
    """Wait until all that this process handed over for that file is committed."""
    wanted = Path(path).absolute()
    for writer in list(_living):
        if writer.path.absolute() == wanted:
            writer.flush(timeout)


def _close_all() -> None:
    for writer in list(_living):
        writer.close()


def _after_fork_in_child() -> None:
    """A child has neither the threads nor the right to use the parent's connections: it starts afresh."""
    _shared.lock = threading.Lock()
    for writer in list(_living):
        _abandoned.append(writer.forget())


_living: weakref.WeakSet[Writer] = weakref.WeakSet()
_shared = _Shared()
# Closing a connection in a child would release the parent's locks on the file: they are kept for good.
_abandoned: list[TraceFile] = []
atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
