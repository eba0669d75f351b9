"""Which runs are stored: a share of all (head), and every one that failed or was slow (tail)."""

from __future__ import annotations

import hashlib
from typing import Any

from chainops.store.records import JudgedRecord, NoteRecord, ScoreRecord, SpanRecord
from chainops.store.writer import Writer

__all__ = ["HeldRun", "is_sampled"]

MAX_HELD_SPANS = 5000


def is_sampled(run_id: str, share: float) -> bool:
    """The same answer for a run in every process: its id, hashed evenly over [0, 1), lies below ``share``."""
    digest = hashlib.blake2b(run_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < share * 2**64


class HeldRun:
    """Keeps the spans of a run that was not sampled in memory until its root has ended, then stores all or none.

    At most 5,000 spans per run are held; further ones are dropped and counted.
    """

    __slots__ = ("_decided", "_held", "_keep", "_keep_errors", "_records", "_slow_ns", "_writer")

    def __init__(self, writer: Writer, keep_errors: bool, keep_slow_ms: float | None) -> None:
        self._writer = writer
        self._keep_errors = keep_errors
        self._slow_ns = None if keep_slow_ms is None else keep_slow_ms * 1e6
        self._held: dict[SpanRecord, None] = {}
        self._records: list[Any] = []
        self._keep = False
        self._decided = False

    def opened(self, span: SpanRecord) -> bool:
        """Hold the span."""
        if self._decided:
            return self._writer.opened(span) if self._keep else True
        if len(self._held) >= MAX_HELD_SPANS:
            self._writer.drop(1)
            return False
        self._held[span] = None
        return True

    def ended(self, span: SpanRecord) -> None:
        """Decide when it was the root."""
        if self._decided:
            if self._keep:
                self._writer.ended(span)
            return
        if self._keep_errors and span.status in ("error", "blocked"):
            self._keep = True
        if span.parent is None:
            if self._slow_ns is not None and span.end_clock - span.clock >= self._slow_ns:
                self._keep = True
            self._decide()

    def add(self, record: ScoreRecord | JudgedRecord | NoteRecord) -> None:
        """Hold a score, judgements or a late annotation."""
        if not self._decided:
            self._records.append(record)
        elif self._keep:
            self._writer.add(record)

    def _decide(self) -> None:
        self._decided = True
        if self._keep:
            for span in list(self._held):
                if self._writer.opened(span) and span.end_clock:
                    self._writer.ended(span)
            for record in list(self._records):
                self._writer.add(record)
        self._held = {}
        self._records = []
