"""The one thread per file that writes spans: callers put small objects into a queue, it commits them in batches.

Callers never wait for the disk, and never see an error of it. What the writer guarantees is written down in
``docs/reference/trace-file.md``.
"""

from __future__ import annotations

import atexit
import logging
import os
import sqlite3
import threading
import time
import weakref
from collections import deque
from pathlib import Path
from typing import Any

from chainops.errors import StoreError
from chainops.store.batch import Batch, BatchWriter
from chainops.store.file import TraceFile
from chainops.store.options import WriterOptions, WriterStats
from chainops.store.records import ABSENT, NoteRecord, ScoreRecord, SpanRecord
from chainops.store.schema import explain

__all__ = ["Writer", "shared_writer"]

log = logging.getLogger("chainops")


class Writer:
    """Writes into one file. Made on the first span; any thread may call any method.

    ``closed`` is true once it takes no more spans.

    Args:
        path: the file; made when it does not exist.
        options: see :class:`WriterOptions`.
    """

    def __init__(self, path: str | Path, options: WriterOptions | None = None) -> None:
        self.path = Path(path)
        self.options = options or WriterOptions()
        self._max_queue = self.options.max_queue
        self._batch_rows = self.options.batch_rows
        self._reset()
        _living.add(self)
        atexit.register(_close_at_exit, weakref.ref(self))

    def _reset(self) -> None:
        self.payloads_dropped = 0
        self._dropped = 0
        self._drop_lock = threading.Lock()
        self._queue: deque[Any] = deque()
        self._open: dict[SpanRecord, None] = {}
        self._batch = Batch()
        self._file = TraceFile(self.path, self.options.busy_ms, self.options.max_pages)
        self._out: BatchWriter | None = None
        self._wake = threading.Event()
        self._start_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._resting = True
        self.closed = False
        self._flushing: list[threading.Event] = []
        self._durable = 0
        self._failures = 0
        self._warned = False
        self._broken: Exception | None = None

    # Called by the threads that make calls -------------------------------------------------------------------

    def opened(self, span: SpanRecord) -> bool:
        """Take note of a span that starts now. False when it is dropped; its end must then not be reported."""
        if self.closed:
            self.drop(1)
            return False
        if len(self._queue) >= self._max_queue and not self._make_room(span):
            return False
        self._open[span] = None
        if self._resting:
            self._rouse()
        return True

    def ended(self, span: SpanRecord) -> None:
        """Take a span that has ended. It must not change any more."""
        # A span that is not there was dropped, has ended before, or was begun by the parent of a forked process.
        if self._open.pop(span, ABSENT) is None:
            self._queue.append(span)
            if self._resting or len(self._queue) == self._batch_rows:
                self._rouse()

    def add(self, record: ScoreRecord | NoteRecord) -> None:
        """Take a score, or attributes that arrived after their span had ended."""
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

    # The writer's own thread ---------------------------------------------------------------------------------

    def _loop(self) -> None:
        pause = 0.0
        while True:
            self._rest(pause)
            closing = self.closed
            ok = self._step(closing)
            pause = 0.0 if ok else min(2.0, max(0.05, pause * 2))
            if closing and (not ok or not (self._queue or self._batch)):
                self._finish()
                return

    def _rest(self, pause: float) -> None:
        """Sleep until there is something to write, then long enough for a batch to gather."""
        wake, options = self._wake, self.options
        if pause:
            wake.clear()
            if not self.closed:
                wake.wait(pause)
            return
        if not self._queue:
            self._resting = True
            wake.clear()
            if not (self._queue or self.closed):
                wake.wait(options.open_after_ms / 1000 if self._some_unstored() else None)
            self._resting = False
        wake.clear()
        if not self.closed and 0 < len(self._queue) < options.batch_rows and not self._flush_waits():
            wake.wait(options.batch_ms / 1000)

    def _flush_waits(self) -> bool:
        return isinstance(self._queue[-1], threading.Event)

    def _some_unstored(self) -> bool:
        generation = self._file.generation
        return any(span.stored != generation or not generation for span in list(self._open))

    def _step(self, closing: bool) -> bool:
        """Write one batch. False when it could not be, and is kept."""
        if not self._batch:
            self._gather(closing)
        if not self._batch:
            self._release(True)
            return True
        try:
            self._commit(self._batch)
        except (sqlite3.OperationalError, StoreError, OSError) as error:
            return self._failed(error)
        except sqlite3.DatabaseError as error:
            if type(error) is sqlite3.DatabaseError:  # the file is damaged; its subclasses blame a row
                return self._failed(error)
            self._one_by_one(self._batch)
        except Exception:  # noqa: BLE001  a row that no column takes must not stop the others
            self._one_by_one(self._batch)
        self._batch = Batch()
        self._broken = None
        self._release(True)
        return True

    def _gather(self, closing: bool) -> None:
        queue, batch = self._queue, self._batch
        for _ in range(min(len(queue), self.options.batch_rows)):
            item = queue.popleft()
            if isinstance(item, SpanRecord):
                batch.ended.append(item)
            elif isinstance(item, threading.Event):
                self._flushing.append(item)
            elif isinstance(item, ScoreRecord):
                batch.scores.append(item)
            else:
                batch.notes.append(item)
        now = time.perf_counter_ns()
        due = now if closing or self._flushing else now - int(self.options.open_after_ms * 1e6)
        generation = self._file.generation
        for span in list(self._open):
            if span.clock > due:
                break
            if span.stored != generation or not generation:
                batch.opened.append(span)

    def _commit(self, batch: Batch) -> None:
        connection = self._file.ensure()
        if self._out is None or self._out.generation != self._file.generation:
            process, generation = self._file.process, self._file.generation
            self._out = BatchWriter(connection, process, generation, self.options.max_payload_bytes)
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._out.write(batch)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._out.committed(batch)
        self._durable += len(batch.ended)

    def _one_by_one(self, batch: Batch) -> None:
        for single in batch.singles():
            try:
                self._commit(single)
            except Exception as error:  # noqa: BLE001
                if single.ended or single.opened:
                    with self._drop_lock:
                        self._dropped += 1
                    for span in single.opened:
                        self._open.pop(span, None)
                self._warn(f"A span could not be stored in {self.path}: {error!r}", "Please report this.")

    def _failed(self, error: Exception) -> bool:
        self._failures += 1
        self._broken = error
        told = explain(error, self.path) if isinstance(error, sqlite3.Error) else error
        message = getattr(told, "message", str(told))
        self._warn(
            f"The trace cannot be written: {message}. The run goes on; spans wait in memory",
            getattr(told, "hint", "") or "Make the file writable.",
        )
        self._release(False)
        return False

    def _release(self, ok: bool) -> None:
        """Let callers of flush go on once all that was before them is written, or failed."""
        if ok and self._batch:
            return
        for event in self._flushing:
            event.set()
        self._flushing.clear()
        if not ok:
            for item in list(self._queue):
                if isinstance(item, threading.Event):
                    item.set()

    def _finish(self) -> None:
        """The last act of the thread: what could not be written is lost now, and counted."""
        lost = len(self._batch.ended) + sum(1 for item in list(self._queue) if isinstance(item, SpanRecord))
        if self._broken is not None:
            with self._drop_lock:
                self._dropped += lost
            self._queue.clear()
            self._batch = Batch()
        self._file.close(self._dropped)
        self._release(False)

    def _warn(self, message: str, hint: str) -> None:
        """Once per writer: a broken disk must not also flood the log."""
        if not self._warned:
            self._warned = True
            log.warning("%s (hint: %s)", message, hint)


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


def _close_at_exit(reference: weakref.ref[Writer]) -> None:
    if (writer := reference()) is not None:
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
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
