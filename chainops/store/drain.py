"""The writer's own thread: takes what callers queued, commits it in batches, tries again when that fails."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from chainops.errors import StoreError
from chainops.store.batch import BatchWriter
from chainops.store.file import TraceFile
from chainops.store.options import WriterOptions
from chainops.store.records import Batch, JudgedRecord, ScoreRecord, SpanRecord
from chainops.store.schema import explain

__all__ = ["Drain"]

log = logging.getLogger("chainops")


class Drain:
    """The half of :class:`~chainops.store.writer.Writer` that runs in the writer's thread, and the state of both."""

    def __init__(self, path: str | Path, options: WriterOptions | None = None) -> None:
        self.path = Path(path)
        self.options = options or WriterOptions()
        self._reset()

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
        self._resting = True  # something that has ended must wake the thread
        self._idle = True  # something that begins must, too: the thread waits without a limit
        self.closed = False
        self._flushing: list[threading.Event] = []
        self._durable = 0
        self._failures = 0
        self._warned = False
        self._broken: Exception | None = None

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
            self._resting = self._idle = True
            wake.clear()
            if not (self._queue or self.closed):
                due = self._next_due()
                self._idle = due is None
                wake.wait(due)
            self._resting = self._idle = False
        wake.clear()
        if not self.closed and 0 < len(self._queue) < options.batch_rows and not self._flush_waits():
            wake.wait(options.batch_ms / 1000)

    def _flush_waits(self) -> bool:
        return isinstance(self._queue[-1], threading.Event)

    def _next_due(self) -> float | None:
        """Seconds until the oldest span that is not in the file yet has to be stored as open."""
        generation = self._file.generation
        for span in list(self._open):
            if span.stored != generation or not generation:
                age = (time.perf_counter_ns() - span.clock) / 1e9
                return max(0.001, self.options.open_after_ms / 1000 - age)
        return None

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
            elif isinstance(item, JudgedRecord):
                batch.judged.append(item)
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
        self._open.clear()  # what ends from now on stays interrupted
        self._file.close(self._dropped)
        self._release(False)

    def _warn(self, message: str, hint: str) -> None:
        """Once per writer: a broken disk must not also flood the log."""
        if not self._warned:
            self._warned = True
            log.warning("%s (hint: %s)", message, hint)
