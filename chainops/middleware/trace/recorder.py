"""The recorder that the trace middleware puts into a call: the call's own span."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Protocol

from chainops.calls import RunContext
from chainops.recorder import Judgement
from chainops.store.encode import encode, plain
from chainops.store.records import (
    ABSENT,
    EMPTY,
    Encoded,
    JudgedRecord,
    NoteRecord,
    RunState,
    ScoreRecord,
    SpanRecord,
)
from chainops.store.writer import Writer

__all__ = ["Mask", "Masking", "Sink", "TraceRun", "TraceSpan", "snapshot"]

Mask = Callable[[Any], Any]


class Sink(Protocol):
    """Where spans go: the writer, or a buffer that decides at the end of the run."""

    def opened(self, span: SpanRecord) -> bool:
        """False when the span is dropped."""

    def ended(self, span: SpanRecord) -> None:
        """Take an ended span."""

    def add(self, record: ScoreRecord | JudgedRecord | NoteRecord) -> None:
        """Take a score, judgements or a late annotation."""


def snapshot(value: Any) -> Any:
    """A copy as deep as nodes commonly write to: a dict and the lists in it. The rest is shared with the caller."""
    kind = value.__class__
    if kind is dict:
        return {k: (v[:] if v.__class__ is list else v) for k, v in value.items()}
    if kind is list:
        return value[:]
    return value


class Masking:
    """Applies the user's hook where a value enters the trace; what the hook fails on is not stored at all.

    ``payload`` makes an input or output ready for the queue.
    """

    __slots__ = ("content", "hook", "payload")

    def __init__(self, hook: Mask | None, content: bool) -> None:
        self.hook = hook
        self.content = content
        self.payload: Callable[[Any], Any] = snapshot if hook is None and content else self._payload

    def of(self, run: RunContext) -> Masking:
        """For one run: with the hook that the user's hook gives for it, where it has a ``for_run``."""
        for_run = getattr(self.hook, "for_run", None)
        return self if for_run is None else Masking(for_run(run), self.content)

    def _payload(self, value: Any) -> Any:
        if not self.content:
            return ABSENT
        return Encoded(encode(self._call(plain(value))))

    def text(self, value: str) -> str:
        """A message of an error, a hint, a comment."""
        if self.hook is None or not value:
            return value
        masked = self._call(value)
        return masked if isinstance(masked, str) else encode(masked).decode()

    def mapping(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Attributes or metadata, by name."""
        if self.hook is None:
            return values
        masked = self._call(plain(values))
        return masked if isinstance(masked, dict) else {"masked": masked}

    def _call(self, value: Any) -> Any:
        assert self.hook is not None
        try:
            return self.hook(value)
        except Exception as error:  # noqa: BLE001  whatever the hook raises, the raw value must not be stored
            return f"<masking failed: {type(error).__name__}>"


class TraceRun(RunState):
    """A run, how its spans are masked, where they go, and whether a node in it waits for a person."""

    __slots__ = ("masking", "paused", "sink", "writer")

    def __init__(self, context: RunContext, graph: str, masking: Masking, sink: Sink, writer: Writer) -> None:
        metadata = masking.mapping(context.metadata) if context.metadata else EMPTY
        tags = tuple(map(masking.text, context.tags))
        thread = masking.text(context.thread_id) if context.thread_id else context.thread_id
        super().__init__(context.run_id, graph, thread, tags, metadata)
        self.masking = masking
        self.sink = sink
        self.writer = writer
        self.paused = False


class TraceSpan(SpanRecord):
    """A span and the :class:`~chainops.calls.Recorder` of its call in one object."""

    __slots__ = ()

    run: TraceRun

    @property
    def trace_file(self) -> Path:
        """The file that the span goes to."""
        return self.run.writer.path

    def finish(self) -> None:
        """Close the span now and hand it over; ``status`` and ``output`` are set before."""
        self.end_clock = perf_counter_ns()
        self.run.sink.ended(self)

    def annotate(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Attach ``attributes`` to the span under ``name``, merging with what is there."""
        masked = self.run.masking.mapping(attributes)
        before = self.details.attributes.get(name) if self.details and self.details.attributes else None
        self._note({name: {**before, **masked} if isinstance(before, dict) else dict(masked)})

    def set(self, **attributes: Any) -> None:
        """Add attributes to the span itself."""
        self._note(self.run.masking.mapping(attributes))

    def result(self, value: Any) -> None:
        """Keep ``value`` as the span's output."""
        self.output = self.run.masking.payload(value)

    def _note(self, attributes: Mapping[str, Any]) -> None:
        self.attach(attributes)
        if self.end_clock:
            self.run.sink.add(NoteRecord(self))

    def span(self, name: str, *, input: Any = None) -> Step:
        """Open a child span of kind ``step``; use it in a ``with`` statement."""
        return Step(self, name, input)

    def score(self, name: str, value: float | str, *, source: str, comment: str = "") -> None:
        """Record a judgement on the span."""
        if not isinstance(value, int | float):
            value = self.run.masking.text(str(value))
        comment = self.run.masking.text(comment)
        self.run.sink.add(ScoreRecord(self, name, value, source, comment, time.time_ns()))

    def judged(self, judgements: Sequence[Judgement]) -> None:
        """Record judgements that are over: each a child span with its score."""
        masking = self.run.masking
        if masking.hook is not None:
            judgements = [
                j._replace(
                    label=masking.text(j.label),
                    comment=masking.text(j.comment),
                    attributes=None if j.attributes is None else masking.mapping(j.attributes),
                )
                for j in judgements
            ]
        self.run.sink.add(JudgedRecord(self, judgements))

    def artifact(self, kind: str, name: str, version: str) -> None:
        """Note that the call used this version of an artifact."""
        entry = {"kind": kind, "name": name, "version": str(version)}
        details = self.more()
        details.artifacts = [*(details.artifacts or ()), entry]
        if self.end_clock:
            self.run.sink.add(NoteRecord(self))


class Step:
    """A child span of kind ``step``, open inside a ``with`` statement."""

    __slots__ = ("_input", "_name", "_parent", "_span")

    def __init__(self, parent: TraceSpan, name: str, input: Any) -> None:
        self._parent = parent
        self._name = name
        self._input = input
        self._span: TraceSpan | None = None

    def __enter__(self) -> TraceSpan:
        above = self._parent
        run = above.run
        given = ABSENT if self._input is None else run.masking.payload(self._input)
        span = TraceSpan(run, above, "step", self._name, above.path, above.attempt, given)
        run.sink.opened(span)
        self._span = span
        return span

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        span = self._span
        assert span is not None
        if error is None:
            span.status = "ok"
        else:
            from chainops.middleware.trace.outcome import note_error

            note_error(span, error)
        span.finish()
