"""Where the annotations, inner spans and scores of a call go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, Protocol

__all__ = ["NO_RECORDER", "Judgement", "Recorder", "SpanHandle"]


class Judgement(NamedTuple):
    """What somebody said about a text in a call, and how long it took.

    Args:
        name: of the child span. score: name of the score on it. label: what was said, the score's label.
        began, ended: ``perf_counter_ns``.
        comment: of the score. attributes: of the span, JSON values.
    """

    name: str
    score: str
    label: str
    began: int
    ended: int
    comment: str = ""
    attributes: Mapping[str, Any] | None = None


class SpanHandle(Protocol):
    """A span that is open now; what is set on it is stored with it."""

    def set(self, **attributes: Any) -> None:
        """Add attributes (JSON values) to the span."""

    def result(self, value: Any) -> None:
        """Keep what came of the work as the span's output; where contents are not recorded, nothing."""

    def span(self, name: str, *, input: Any = None) -> AbstractContextManager[SpanHandle]:
        """Open a child span of kind ``step`` inside this one."""

    def score(self, name: str, value: float | str, *, source: str, comment: str = "") -> None:
        """Record a judgement on the span, also after it has ended."""


class Recorder(Protocol):
    """Where a call's annotations, inner spans and scores go. Installed by the trace middleware."""

    @property
    def trace_file(self) -> Path | None:
        """The trace file that the span goes to; None where nothing is recorded."""

    def annotate(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Attach ``attributes`` (JSON values) to the call's span under ``name``, merging with what is there."""

    def span(self, name: str, *, input: Any = None) -> AbstractContextManager[SpanHandle]:
        """Open a child span of kind ``step`` for a piece of work inside a middleware."""

    def score(self, name: str, value: float | str, *, source: str, comment: str = "") -> None:
        """Record a judgement on the call's span. ``source``: ``rule | model | human | monitor``."""

    def judged(self, judgements: Sequence[Judgement]) -> None:
        """Record judgements that are over: each a child span of kind ``step`` with its score, made by the writer."""

    def artifact(self, kind: str, name: str, version: str) -> None:
        """Note that the call used this version (a content hash or number) of an artifact."""


class _NoSpan:
    __slots__ = ()

    def set(self, **attributes: Any) -> None:
        return None

    def result(self, value: Any) -> None:
        return None

    def span(self, name: str, *, input: Any = None) -> AbstractContextManager[SpanHandle]:
        return nullcontext(self)

    def score(self, name: str, value: float | str, *, source: str, comment: str = "") -> None:
        return None


class _NoRecorder:
    """Records nothing: stands in a call until the trace middleware puts a real recorder there."""

    __slots__ = ()
    trace_file: Path | None = None

    def annotate(self, name: str, attributes: Mapping[str, Any]) -> None:
        return None

    def span(self, name: str, *, input: Any = None) -> AbstractContextManager[SpanHandle]:
        return nullcontext(_NoSpan())

    def score(self, name: str, value: float | str, *, source: str, comment: str = "") -> None:
        return None

    def judged(self, judgements: Sequence[Judgement]) -> None:
        return None

    def artifact(self, kind: str, name: str, version: str) -> None:
        return None


NO_RECORDER: Recorder = _NoRecorder()
