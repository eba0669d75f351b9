"""How a trace file is written, and the balance of what was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["OnFull", "WriterOptions", "WriterStats"]

OnFull = Literal["drop_payload", "drop_new", "block"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterOptions:
    """How a file is written.

    Args:
        max_queue: spans that may wait for the disk.
        on_full: what happens to a span that starts while ``max_queue`` wait. ``drop_payload``: it is stored without
            input and output, and not at all when twice as many wait. ``drop_new``: it is not stored.
            ``block``: the caller waits up to ``block_s`` seconds, its event loop too; only for batch jobs.
        batch_ms: longest time in milliseconds that an ended span waits for its commit.
        batch_rows: most spans in one commit.
        open_after_ms: age in milliseconds at which a span that still runs is stored as ``open``.
        max_payload_bytes: inputs and outputs are cut after so many bytes of JSON; their full size is noted.
        busy_ms: how long to wait for another process' lock.
        max_pages: largest file, in pages of 4 KiB; None for no limit.
    """

    max_queue: int = 20_000
    on_full: OnFull = "drop_payload"
    block_s: float = 1.0
    batch_ms: float = 20.0
    batch_rows: int = 1000
    open_after_ms: float = 250.0
    max_payload_bytes: int = 65_536
    busy_ms: int = 5000
    max_pages: int | None = None


@dataclass(frozen=True, slots=True)
class WriterStats:
    """What became of the spans of this process.

    Args:
        durable: ended spans that are committed.
        waiting: ended spans that are not committed yet.
        dropped: spans that were not stored and never will be.
        payloads_dropped: spans stored without input and output, because too many waited.
        failures: transactions that failed (and were tried again).
    """

    durable: int
    waiting: int
    dropped: int
    payloads_dropped: int
    failures: int
