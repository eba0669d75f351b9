"""Foreign traces into a trace file, through the writer that the tracer uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from chainops.errors import StoreError
from chainops.store.exchange.record import Span, Trace
from chainops.store.options import WriterOptions
from chainops.store.reader import Reader
from chainops.store.records import ABSENT, RunState, ScoreRecord, SpanRecord
from chainops.store.writer import Writer

__all__ = ["load"]

FLUSH_S = 60.0


def load(db: str | Path, traces: Sequence[Trace], progress: Callable[[int], None] | None) -> tuple[int, int, int, int]:
    """Store ``traces``; returns runs, spans and scores stored, and runs that were known already.

    Raises:
        StoreError: the file cannot be written; what had been written before stays (``store.import``).
    """
    from chainops.store.migrate import upgrade

    upgrade(db)
    known = _known(db, {trace.run_id for trace in traces})
    writer = Writer(db, WriterOptions(on_full="block", max_payload_bytes=2**24, open_after_ms=1e9))
    runs = spans = scores = 0
    try:
        for trace in traces:
            if trace.run_id in known:
                continue
            known.add(trace.run_id)
            scores += _store(writer, trace)
            runs, spans = runs + 1, spans + len(trace.spans)
            if writer.flush(FLUSH_S) < spans:
                raise StoreError(
                    f"{db} does not take the imported runs",
                    hint="chainops db check says what is wrong with the file.",
                    code="store.import",
                )
            if progress is not None:
                progress(runs)
    finally:
        writer.close(FLUSH_S)
    return runs, spans, scores, len(traces) - runs


def _known(db: str | Path, wanted: set[str]) -> set[str]:
    with Reader(db) as reader:
        rows = (reader.connection.execute("SELECT 1 FROM run WHERE run_id = ?", (one,)).fetchone() for one in wanted)
        return {one for one, row in zip(wanted, rows, strict=True) if row is not None}


def _store(writer: Writer, trace: Trace) -> int:
    run = RunState(trace.run_id, trace.graph, trace.thread, tuple(trace.tags), trace.metadata)
    run.start_ns, run.clock = min(span.start_ns for span in trace.spans), 1
    made: dict[str, SpanRecord] = {}
    for span in _parents_first(trace.spans):
        made[span.id] = record = _record(run, made.get(span.parent or ""), span)
        writer.opened(record)
    for span in reversed(_parents_first(trace.spans)):
        writer.ended(made[span.id])
    count = 0
    for span_id, name, value, source in trace.scores:
        if span_id in made:
            writer.add(ScoreRecord(made[span_id], name, value, source, "imported", run.start_ns))
            count += 1
    return count


def _record(run: RunState, parent: SpanRecord | None, span: Span) -> SpanRecord:
    record = SpanRecord(run, parent, span.kind, span.name, span.path, span.attempt)
    record.input = span.input if span.has_input else ABSENT
    record.output = span.output if span.has_output else ABSENT
    # nobody knows when a span without an end ended; its process is not here, so it cannot go on either
    record.status = "interrupted" if span.end_ns is None else span.status  # type: ignore[assignment]
    record.clock = run.clock + span.start_ns - run.start_ns
    record.end_clock = run.clock + max(span.end_ns or span.start_ns, span.start_ns) - run.start_ns
    details = record.more()
    if span.error is not None:
        kind, colon, message = span.error.partition(": ")
        known = colon and kind.isidentifier()
        details.error_type, details.error_message = (kind, message) if known else ("Error", span.error)
        details.error_hint = span.hint
    details.model, details.first_token_ns = span.model, span.first_token_ns
    details.tokens_in, details.tokens_out, details.tokens_cached = span.tokens_in, span.tokens_out, span.tokens_cached
    details.attributes, details.artifacts = span.own or None, span.artifacts or None
    return record


def _parents_first(spans: Sequence[Span]) -> list[Span]:
    """In an order in which each span comes after its parent; children of spans that are not here become roots."""
    by_parent: dict[str | None, list[Span]] = {}
    here = {span.id for span in spans}
    for span in sorted(spans, key=lambda span: span.start_ns):
        by_parent.setdefault(span.parent if span.parent in here else None, []).append(span)
    found: list[Span] = []
    waiting = list(reversed(by_parent.get(None, [])))
    while waiting:
        span = waiting.pop()
        found.append(span)
        waiting += reversed(by_parent.get(span.id, []))
    return found
