"""One batch of spans and scores into the file, in one transaction of the caller."""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from chainops.store.encode import encode
from chainops.store.records import ABSENT, Encoded, NoteRecord, RunState, ScoreRecord, SpanRecord

__all__ = ["Batch", "BatchWriter"]

INLINE_BYTES = 4096
"""Payloads above this are compressed and stored once per content."""

_INSERT_SPAN = "INSERT INTO span VALUES (" + "?, " * 25 + "?)"
_UPDATE_SPAN = (
    "UPDATE span SET end_ns=?, status=?, error_type=?, error_message=?, error_hint=?, output=?, output_payload=?, "
    "output_bytes=?, model=?, tokens_in=?, tokens_out=?, tokens_cached=?, first_token_ns=?, attributes=?, artifacts=? "
    "WHERE id=?"
)
_UPDATE_NOTES = "UPDATE span SET attributes=?, artifacts=? WHERE id=?"
_UPSERT_RUN = (
    "INSERT INTO run (run_id, process, graph, thread, start_ns, tags, meta, status, end_ns, spans, errors, model_calls,"
    " tool_calls, tokens_in, tokens_out, tokens_cached, first_error, searched)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"
    " ON CONFLICT (run_id) DO UPDATE SET process=excluded.process, status=excluded.status, end_ns=excluded.end_ns,"
    " spans=spans+excluded.spans, errors=errors+excluded.errors, model_calls=model_calls+excluded.model_calls,"
    " tool_calls=tool_calls+excluded.tool_calls, tokens_in=tokens_in+excluded.tokens_in,"
    " tokens_out=tokens_out+excluded.tokens_out, tokens_cached=tokens_cached+excluded.tokens_cached,"
    " first_error=coalesce(first_error, excluded.first_error), searched=0 RETURNING id"
)
_UPDATE_RUN = (
    "UPDATE run SET status=?, end_ns=coalesce(?, end_ns), spans=spans+?, errors=errors+?, model_calls=model_calls+?,"
    " tool_calls=tool_calls+?, tokens_in=tokens_in+?, tokens_out=tokens_out+?, tokens_cached=tokens_cached+?,"
    " first_error=coalesce(first_error, ?), searched=0 WHERE id=?"
)
_INSERT_SCORE = (
    "INSERT INTO score (span, run, name, value, label, source, comment, created_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)

# Places in a run's sums, in the order of the columns in the statements above.
_STATUS, _END, _SPANS, _ERRORS, _MODELS, _TOOLS, _IN, _OUT, _CACHED, _FIRST_ERROR = range(10)


class Batch:
    """Items taken from the queue: ended spans, spans to store as open, scores, notes."""

    __slots__ = ("ended", "notes", "opened", "scores")

    def __init__(self) -> None:
        self.ended: list[SpanRecord] = []
        self.opened: list[SpanRecord] = []
        self.scores: list[ScoreRecord] = []
        self.notes: list[NoteRecord] = []

    def __bool__(self) -> bool:
        return bool(self.ended or self.opened or self.scores or self.notes)

    def singles(self) -> Iterable[Batch]:
        """The same items, one per batch: to find the one that cannot be stored."""
        for name in ("opened", "ended", "scores", "notes"):
            for item in getattr(self, name):
                single = Batch()
                getattr(single, name).append(item)
                yield single


class BatchWriter:
    """Writes batches through one connection, as one process row (``process``) of the file.

    ``generation`` counts how often the file was opened: what was stored in an earlier opening (of a file that
    somebody deleted) is not in this one.
    """

    def __init__(self, connection: sqlite3.Connection, process: int, generation: int, max_payload_bytes: int) -> None:
        self.connection = connection
        self.process = process
        self.generation = generation
        self.max_payload_bytes = max_payload_bytes
        self._next_id = process << 32

    def write(self, batch: Batch) -> None:
        """All of ``batch``; the caller begins and commits. Marks nothing as stored: see :meth:`committed`."""
        generation = self.generation
        new_open = self._with_parents(batch)
        new_done = [span for span in batch.ended if span.stored != generation]
        old_done = [span for span in batch.ended if span.stored == generation]
        self._write_runs(new_open, batch.ended)
        if new_open or new_done:
            rows = [self._insert_row(span, False) for span in new_open]
            rows += [self._insert_row(span, True) for span in new_done]
            self.connection.executemany(_INSERT_SPAN, rows)
        if old_done:
            self.connection.executemany(_UPDATE_SPAN, [(*self._end_of(span, True), span.id) for span in old_done])
        if batch.scores:
            self.connection.executemany(_INSERT_SCORE, [self._score_row(score) for score in batch.scores])
        if batch.notes:
            notes = [(_json(n.span.attributes), _json(n.span.artifacts), n.span.id) for n in batch.notes]
            self.connection.executemany(_UPDATE_NOTES, notes)
        batch.opened = new_open

    def committed(self, batch: Batch) -> None:
        """Remember that ``batch`` is in the file."""
        generation = self.generation
        for spans in (batch.opened, batch.ended):
            for span in spans:
                span.stored = span.run.generation = generation

    def _with_parents(self, batch: Batch) -> list[SpanRecord]:
        """Spans to store as open: those that are due, and open parents of anything stored now (no broken trees)."""
        generation = self.generation
        found: dict[SpanRecord, None] = {}
        ended = set(batch.ended)
        for spans in (batch.opened, batch.ended, [item.span for item in batch.scores]):
            for span in spans:
                above = span if spans is not batch.ended else span.parent
                while above is not None and above.stored != generation and above not in found:
                    # Ended and stored earlier, but in a file that is gone: it cannot come back as an open span.
                    if above not in ended and not (above.end_ns and above.stored):
                        found[above] = None
                    above = above.parent
        return list(found)

    def _id_of(self, span: SpanRecord) -> int:
        if span.id >> 32 != self.process:
            self._next_id += 1
            span.id = self._next_id
        return span.id

    def _write_runs(self, opened: list[SpanRecord], ended: list[SpanRecord]) -> None:
        generation = self.generation
        sums: dict[RunState, list[Any]] = {}
        for span in opened:
            run = span.run
            total = sums.get(run)
            if total is None:
                total = sums[run] = [run.status, None, 0, 0, 0, 0, 0, 0, 0, None]
            total[_SPANS] += 1
        for span in ended:
            run = span.run
            total = sums.get(run)
            if total is None:
                total = sums[run] = [run.status, None, 0, 0, 0, 0, 0, 0, 0, None]
            if span.stored != generation:
                total[_SPANS] += 1
            if span.parent is None:
                run.status = total[_STATUS] = span.status
                total[_END] = span.end_ns
            if span.status == "error":
                total[_ERRORS] += 1
                if total[_FIRST_ERROR] is None:
                    total[_FIRST_ERROR] = f"{span.error_type} in {span.name}"
            if span.kind == "model":
                total[_MODELS] += 1
                total[_IN] += span.tokens_in or 0
                total[_OUT] += span.tokens_out or 0
                total[_CACHED] += span.tokens_cached or 0
            elif span.kind == "tool" or span.kind == "retriever":
                total[_TOOLS] += 1
        known = []
        for run, total in sums.items():
            if run.row and run.generation == generation:
                known.append((*total, run.row))
                continue
            head = (run.run_id, self.process, run.graph, run.thread, run.start_ns)
            meta = (_json(list(run.tags)) if run.tags else None, _json(run.metadata) if run.metadata else None)
            # Two RunStates meet in one row when a run continues in another process; a rollback makes `row` stale,
            # which the same statement repairs, because it is set again on every attempt until committed.
            row = self.connection.execute(_UPSERT_RUN, (*head, *meta, *total)).fetchone()
            run.row = row[0]
        if known:
            self.connection.executemany(_UPDATE_RUN, known)

    def _insert_row(self, span: SpanRecord, done: bool) -> tuple[Any, ...]:
        parent = span.parent
        parent_id = None
        if parent is not None:
            parent_id = parent.id if parent.id >> 32 == self.process else self._id_of(parent)
        data, payload, size = self._payload(span.input)
        end_ns, status, e_type, e_message, e_hint, output, *rest = self._end_of(span, done)
        return (
            self._id_of(span),
            span.run.row,
            parent_id,
            span.kind,
            span.name,
            span.path,
            span.attempt,
            span.start_ns,
            end_ns,
            status,
            e_type,
            e_message,
            e_hint,
            data,
            payload,
            size,
            output,
            *rest,
        )

    def _end_of(self, span: SpanRecord, done: bool) -> tuple[Any, ...]:
        attributes = span.attributes
        artifacts = span.artifacts
        return (
            span.end_ns if done else None,
            span.status if done else "open",
            span.error_type,
            span.error_message,
            span.error_hint,
            *(self._payload(span.output) if done else _NOTHING),
            span.model,
            span.tokens_in,
            span.tokens_out,
            span.tokens_cached,
            span.first_token_ns,
            _json(attributes) if attributes else None,
            _json(artifacts) if artifacts else None,
        )

    def _payload(self, value: Any) -> tuple[str | None, int | None, int | None]:
        """(text, id in ``payload``, full size in bytes) of an input or output."""
        if value is ABSENT:
            return _NOTHING
        data = value.data if value.__class__ is Encoded else encode(value)
        size = len(data)
        if size <= INLINE_BYTES and size <= self.max_payload_bytes:
            return data.decode(), None, size
        if size > self.max_payload_bytes:
            data = data[: self.max_payload_bytes].decode("utf-8", "ignore").encode()
            if len(data) <= INLINE_BYTES:
                return data.decode(), None, size
        digest = hashlib.sha256(data).digest()
        found = self.connection.execute("SELECT id FROM payload WHERE sha256=?", (digest,)).fetchone()
        if found is None:
            row = (digest, len(data), zlib.compress(data, 1))
            found = self.connection.execute(
                "INSERT INTO payload (sha256, size, data) VALUES (?, ?, ?) RETURNING id", row
            ).fetchone()
        return None, found[0], size

    def _score_row(self, score: ScoreRecord) -> Sequence[Any]:
        value = score.value
        number = float(value) if isinstance(value, int | float) else None
        label = None if number is not None else str(value)
        row = (score.name, number, label, score.source, score.comment, score.created_ns)
        return (self._id_of(score.span), score.span.run.row, *row)


_NOTHING: tuple[None, None, None] = (None, None, None)


def _json(value: Any) -> str | None:
    return None if value is None else encode(value).decode()
