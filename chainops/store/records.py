"""What the writer takes: spans, scores and late annotations, as small objects that cost little to make."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter_ns
from types import MappingProxyType
from typing import Any, Final, Literal

from chainops.recorder import Judgement

__all__ = [
    "ABSENT",
    "Batch",
    "Details",
    "Encoded",
    "JudgedRecord",
    "NoteRecord",
    "RunState",
    "ScoreRecord",
    "SpanRecord",
    "Status",
]

EMPTY: Mapping[str, Any] = MappingProxyType({})

Status = Literal["open", "ok", "paused", "error", "blocked", "cancelled", "interrupted"]
"""open: running · ok · paused: a LangGraph ``interrupt()`` waits for a person · error · blocked: a middleware
refused it · cancelled · interrupted: Ctrl-C, or its process died."""


class RunState:
    """What the spans of one run share inside one process. ``clock`` is ``perf_counter_ns`` at ``start_ns``."""

    __slots__ = ("clock", "generation", "graph", "metadata", "row", "run_id", "start_ns", "status", "tags", "thread")

    def __init__(
        self,
        run_id: str,
        graph: str = "",
        thread: str | None = None,
        tags: tuple[str, ...] = (),
        metadata: Mapping[str, Any] = EMPTY,
    ) -> None:
        self.run_id = run_id
        self.graph = graph
        self.thread = thread
        self.tags = tags
        self.metadata = metadata
        self.start_ns = time.time_ns()
        self.clock = time.perf_counter_ns()
        self.status: Status = "open"
        # Set by the writer: the row's id, and the opening of the file (see Writer) that it belongs to.
        self.row = 0
        self.generation = 0


class Details:
    """What most spans do not have: an error, a model's figures, attributes, artifacts."""

    __slots__ = (
        "artifacts",
        "attributes",
        "error_hint",
        "error_message",
        "error_type",
        "first_token_ns",
        "model",
        "tokens_cached",
        "tokens_in",
        "tokens_out",
    )

    def __init__(self) -> None:
        self.error_type: str | None = None
        self.error_message: str | None = None
        self.error_hint: str | None = None
        self.model: str | None = None
        self.tokens_in: int | None = None
        self.tokens_out: int | None = None
        self.tokens_cached: int | None = None
        self.first_token_ns: int | None = None
        self.attributes: dict[str, Any] | None = None
        self.artifacts: list[dict[str, str]] | None = None


class SpanRecord:
    """One span, filled by the thread that makes the call and read by the writer's thread once it has ended.

    ``input``, ``output`` and attributes are whatever the call had; the writer encodes them. ``clock`` and
    ``end_clock`` are ``perf_counter_ns``, the latter 0 while the span is open.
    """

    __slots__ = (
        "attempt",
        "clock",
        "details",
        "end_clock",
        "id",
        "input",
        "kind",
        "name",
        "output",
        "parent",
        "path",
        "run",
        "status",
        "stored",
    )

    def __init__(
        self,
        run: RunState,
        parent: SpanRecord | None,
        kind: str,
        name: str,
        path: str = "",
        attempt: int = 1,
        input: Any = None,
    ) -> None:
        self.run = run
        self.parent = parent
        self.kind = kind
        self.name = name
        self.path = path
        self.attempt = attempt
        self.input = input
        self.output: Any = ABSENT
        self.status: Status = "open"
        self.details: Details | None = None
        # Set by the writer's thread only: id in the file, and the opening of the file in which it was stored.
        self.id = 0
        self.stored = 0
        self.end_clock = 0
        self.clock = perf_counter_ns()

    def more(self) -> Details:
        """The details, made when there are none yet."""
        if self.details is None:
            self.details = Details()
        return self.details

    def attach(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes. A new dict each time: the writer's thread may be encoding the old one."""
        details = self.more()
        details.attributes = {**(details.attributes or EMPTY), **attributes}


class ScoreRecord:
    """A judgement on a span, on its way to the file."""

    __slots__ = ("comment", "created_ns", "name", "source", "span", "value")

    def __init__(
        self, span: SpanRecord, name: str, value: float | str, source: str, comment: str, created_ns: int
    ) -> None:
        self.span = span
        self.name = name
        self.value = value
        self.source = source
        self.comment = comment
        self.created_ns = created_ns


class JudgedRecord:
    """Judgements on a span that are over: the writer makes a child span and a score of each."""

    __slots__ = ("judgements", "span")

    def __init__(self, span: SpanRecord, judgements: Sequence[Judgement]) -> None:
        self.span = span
        self.judgements = judgements


class NoteRecord:
    """Attributes or artifacts that arrived after their span had ended: the writer stores them again."""

    __slots__ = ("span",)

    def __init__(self, span: SpanRecord) -> None:
        self.span = span


class Encoded:
    """A payload that is JSON already, because it had to be masked before it reached the queue."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class _Absent:
    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""Stands where there is no payload; None is one ("null")."""


class Batch:
    """Items taken from the queue: ended spans, spans to store as open, scores, judgements, notes."""

    __slots__ = ("ended", "judged", "notes", "opened", "scores")

    def __init__(self) -> None:
        self.ended: list[SpanRecord] = []
        self.opened: list[SpanRecord] = []
        self.scores: list[ScoreRecord] = []
        self.judged: list[JudgedRecord] = []
        self.notes: list[NoteRecord] = []

    def __bool__(self) -> bool:
        return bool(self.ended or self.opened or self.scores or self.judged or self.notes)

    def singles(self) -> Iterable[Batch]:
        """The same items, one per batch: to find the one that cannot be stored."""
        for name in ("opened", "ended", "scores", "judged", "notes"):
            for item in getattr(self, name):
                single = Batch()
                getattr(single, name).append(item)
                yield single
