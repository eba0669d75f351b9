"""One batch of spans and scores into the file, in one transaction of the caller."""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Sequence
from typing import Any

from chainops.store.encode import encode
from chainops.store.records import (
    ABSENT,
    Batch,
    Details,
    Encoded,
    JudgedRecord,
    RunState,
    ScoreRecord,
    SpanRecord,
)

__all__ = ["BatchWriter"]

INLINE_BYTES = 4096
"""Payloads above this are compressed and stored once per content."""

# Binding a column costs as much as storing it: spans without details name only the columns that they have.
_INSERT_SHORT = (
    "INSERT INTO span (id, run, parent, kind, name, path, attempt, start_ns, end_ns, status, input, input_payload,"
    " input_bytes, output, output_payload, output_bytes) VALUES (" + "?, " * 15 + "?)"
)
_INSERT_JUDGED = (
    "INSERT INTO span (id, run, parent, kind, name, path, attempt, start_ns, end_ns, status, attributes)"
    " VALUES (?, ?, ?, 'step', ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_FULL = "INSERT INTO span VALUES (" + "?, " * 25 + "?)"
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
        batch.opened = self._with_parents(batch)
        self._write_runs(batch.opened, batch.ended, batch.judged)
        few: list[tuple[Any, ...]] = []
        full = [self._full_row(span, False) for span in batch.opened]
        updates = []
        for span in batch.ended:
            if span.stored == generation:
                updates.append((*self._end_of(span), span.id))
            elif span.details is None:
                few.append(self._short_row(span))
            else:
                full.append(self._full_row(span, True))
        if few:
            self.connection.executemany(_INSERT_SHORT, few)
        if full:
            self.connection.executemany(_INSERT_FULL, full)
        if updates:
            self.connection.executemany(_UPDATE_SPAN, updates)
        if batch.scores:
            self.connection.executemany(_INSERT_SCORE, [self._score_row(score) for score in batch.scores])
        if batch.judged:
            self._write_judged(batch.judged)
        if batch.notes:
            self.connection.executemany(_UPDATE_NOTES, [(*_notes(n.span), n.span.id) for n in batch.notes])

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
        told = [item.span for item in batch.scores] + [item.span for item in batch.judged]
        for spans in (batch.opened, batch.ended, told):
            for span in spans:
                above = span if spans is not batch.ended else span.parent
                while above is not None and above.stored != generation and above not in found:
                    # Ended and stored earlier, but in a file that is gone: it cannot come back as an open span.
                    if above not in ended and not (above.end_clock and above.stored):
                        found[above] = None
                    above = above.parent
        return list(found)

    def _id_of(self, span: SpanRecord) -> int:
        if span.id >> 32 != self.process:
            self._next_id += 1
            span.id = self._next_id
        return span.id

    def _write_runs(self, opened: list[SpanRecord], ended: list[SpanRecord], judged: list[JudgedRecord]) -> None:
        generation = self.generation
        sums: dict[RunState, list[Any]] = {}
        for record in judged:
            _sum_of(sums, record.span.run)[_SPANS] += len(record.judgements)
        for span in opened:
            _sum_of(sums, span.run)[_SPANS] += 1
        for span in ended:
            run = span.run
            total = sums.get(run) or _sum_of(sums, run)
            if span.stored != generation:
                total[_SPANS] += 1
            if span.parent is None:
                run.status = total[_STATUS] = span.status
                total[_END] = run.start_ns + span.end_clock - run.clock
            kind = span.kind
            if kind == "tool" or kind == "retriever":
                total[_TOOLS] += 1
            elif kind == "model":
                total[_MODELS] += 1
            if (details := span.details) is not None:
                if span.status == "error":
                    total[_ERRORS] += 1
                    if total[_FIRST_ERROR] is None:
                        total[_FIRST_ERROR] = f"{details.error_type} in {span.name}"
                total[_IN] += details.tokens_in or 0
                total[_OUT] += details.tokens_out or 0
                total[_CACHED] += details.tokens_cached or 0
        known = []
        # New runs get their rows in the order in which they began: lists show the newest first by row.
        for run, total in sorted(sums.items(), key=lambda item: item[0].clock):
            if run.row and run.generation == generation:
                known.append((*total, run.row))
                continue
            head = (run.run_id, self.process, run.graph, run.thread, run.start_ns)
            meta = (_json(list(run.tags)) if run.tags else None, _json(dict(run.metadata)) if run.metadata else None)
            # After a rollback `row` is stale, but `generation` is not set yet: the next attempt comes here again.
            run.row = self.connection.execute(_UPSERT_RUN, (*head, *meta, *total)).fetchone()[0]
        if known:
            self.connection.executemany(_UPDATE_RUN, known)

    def _parent_id(self, span: SpanRecord) -> int | None:
        parent = span.parent
        return None if parent is None else self._id_of(parent)

    def _short_row(self, span: SpanRecord) -> tuple[Any, ...]:
        run = span.run
        offset = run.start_ns - run.clock
        return (
            self._id_of(span),
            run.row,
            self._parent_id(span),
            span.kind,
            span.name,
            span.path,
            span.attempt,
            offset + span.clock,
            offset + span.end_clock,
            span.status,
            *self._payload(span.input),
            *self._payload(span.output),
        )

    def _full_row(self, span: SpanRecord, done: bool) -> tuple[Any, ...]:
        run = span.run
        end_ns, status, e_type, e_message, e_hint, *rest = self._end_of(span) if done else self._open_of(span)
        return (
            self._id_of(span),
            run.row,
            self._parent_id(span),
            span.kind,
            span.name,
            span.path,
            span.attempt,
            run.start_ns - run.clock + span.clock,
            end_ns,
            status,
            e_type,
            e_message,
            e_hint,
            *self._payload(span.input),
            *rest,
        )

    def _end_of(self, span: SpanRecord) -> tuple[Any, ...]:
        run = span.run
        d = span.details or _NO_DETAILS
        return (
            run.start_ns - run.clock + span.end_clock,
            span.status,
            d.error_type,
            d.error_message,
            d.error_hint,
            *self._payload(span.output),
            *_figures(d),
            *_notes(span),
        )

    def _open_of(self, span: SpanRecord) -> tuple[Any, ...]:
        return (None, "open", None, None, None, *_NOTHING, *_figures(span.details or _NO_DETAILS), *_notes(span))

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

    def _write_judged(self, records: list[JudgedRecord]) -> None:
        spans, scores = [], []
        for record in records:
            above, run = record.span, record.span.run
            parent, offset = self._id_of(above), run.start_ns - run.clock
            for name, score, label, began, ended, comment, attributes in record.judgements:
                self._next_id += 1
                status = "blocked" if label == "block" else "ok"
                place = (self._next_id, run.row, parent, name, above.path, above.attempt)
                spans.append((*place, offset + began, offset + ended, status, _json(attributes)))
                scores.append((self._next_id, run.row, score, None, label, "rule", comment, offset + ended))
        self.connection.executemany(_INSERT_JUDGED, spans)
        self.connection.executemany(_INSERT_SCORE, scores)

    def _score_row(self, score: ScoreRecord) -> Sequence[Any]:
        value = score.value
        number = float(value) if isinstance(value, int | float) else None
        label = None if number is not None else str(value)
        row = (score.name, number, label, score.source, score.comment, score.created_ns)
        return (self._id_of(score.span), score.span.run.row, *row)


_NOTHING: tuple[None, None, None] = (None, None, None)


_NO_DETAILS = Details()


def _sum_of(sums: dict[RunState, list[Any]], run: RunState) -> list[Any]:
    return sums.setdefault(run, [run.status, None, 0, 0, 0, 0, 0, 0, 0, None])


def _figures(d: Details) -> tuple[Any, ...]:
    return d.model, d.tokens_in, d.tokens_out, d.tokens_cached, d.first_token_ns


def _notes(span: SpanRecord) -> tuple[str | None, str | None]:
    details = span.details
    return (None, None) if details is None else (_json(details.attributes), _json(details.artifacts))


def _json(value: Any) -> str | None:
    return None if value is None else encode(value).decode()
