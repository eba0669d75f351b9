"""The recorder that the trace middleware puts into a call: the call's own span."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol

from chainops.store.encode import encode, plain
from chainops.store.records import ABSENT, Encoded, NoteRecord, RunState, ScoreRecord, SpanRecord

__all__ = ["Masking", "TraceSpan", "snapshot"]

Mask = Callable[[Any], Any]


class Sink(Protocol):
    """Where spans go: the writer, or a buffer that decides at the end of the run."""

    def opened(self, span: SpanRecord) -> bool:
        """False when the span is dropped."""

    def ended(self, span: SpanRecord) -> None:
        """Take an ended span."""

    def add(self, record: ScoreRecord | NoteRecord) -> None:
        """Take a score or a late annotation."""


def snapshot(value: Any) -> Any:
    """A copy as deep as nodes commonly write to: a dict and the lists in it. The rest is shared with the caller."""
    kind = value.__class__
    if kind is dict:
        return {k: (v[:] if v.__class__ is list else v) for k, v in value.items()}
    if kind is list:
        return value[:]
    return value


class Masking:
    """Applies the user's hook where a value enters the trace; what the hook fails on is not stored at all."""

    __slots__ = ("content", "hook")

    def __init__(self, hook: Mask | None, content: bool) -> None:
        self.hook = hook
        self.content = content

    def payload(self, value: Any) -> Any:
        """An input or output, ready for the queue."""
        if not self.content:
            return ABSENT
        if self.hook is None:
            return snapshot(value)
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


class TraceSpan(SpanRecord):
    """A span and the :class:`~chainops.calls.Recorder` of its call in one object."""

    __slots__ = ("masking", "writer")

    sink: Sink

    def __init__(
        self,
        sink: Sink,
        run: RunState,
        parent: SpanRecord | None,
        kind: str,
        name: str,
        path: str,
        attempt: int,
        input: Any,
        writer: object,
        masking: Masking,
    ) -> None:
        SpanRecord.__init__(
            self, sink, run, parent, kind, name, path, attempt, input, time.time_ns(), time.perf_counter_ns()
        )
        self.writer = writer
        self.masking = masking

    def finish(self) -> None:
        """Close the span now and hand it over; ``status`` and ``output`` are set before."""
        self.end_ns = self.start_ns + time.perf_counter_ns() - self.clock
        self.sink.ended(self)

    def annotate(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Attach ``attributes`` to the span under ``name``, merging with what is there."""
        mine = self.attributes
        before = mine.get(name) if mine is not None else None
        merged = {**before, **self.masking.mapping(attributes)} if isinstance(before, dict) else None
        # A new dict each time: the writer's thread may be encoding the old one.
        self._note({name: merged or dict(self.masking.mapping(attributes))})

    def set(self, **attributes: Any) -> None:
        """Add attributes to the span itself."""
        self._note(self.masking.mapping(attributes))

    def _note(self, attributes: Mapping[str, Any]) -> None:
        self.attributes = {**self.attributes, **attributes} if self.attributes else dict(attributes)
        if self.end_ns:
            self.sink.add(NoteRecord(self))

    def span(self, name: str, *, input: Any = None) -> Step:
        """Open a child span of kind ``step``; use it in a ``with`` statement."""
        return Step(self, name, input)

    def score(self, name: str, value: float | str, *, source: str, comment: str = "") -> None:
        """Record a judgement on the span."""
        if not isinstance(value, int | float):
            value = self.masking.text(str(value))
        self.sink.add(ScoreRecord(self, name, value, source, self.masking.text(comment), time.time_ns()))

    def artifact(self, kind: str, name: str, version: str) -> None:
        """Note that the call used this version of an artifact."""
        entry = {"kind": kind, "name": name, "version": str(version)}
        self.artifacts = [*(self.artifacts or ()), entry]
        if self.end_ns:
            self.sink.add(NoteRecord(self))


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
        given = ABSENT if self._input is None else above.masking.payload(self._input)
        span = TraceSpan(
            above.sink,
            above.run,
            above,
            "step",
            self._name,
            above.path,
            above.attempt,
            given,
            above.writer,
            above.masking,
        )
        above.sink.opened(span)
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
