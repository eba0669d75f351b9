"""What a test says about a trace: spans by kind and name, what models were asked, and how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["RecordedSpan", "RecordedTrace", "assert_span"]


@dataclass(frozen=True, slots=True)
class RecordedSpan:
    """One span with everything decoded. ``own``: what middleware annotated, by their names. Times are milliseconds."""

    id: int
    parent: int | None
    kind: str
    name: str
    path: str
    status: str
    attempt: int
    input: Any
    output: Any
    error: str | None
    model: str | None
    tokens_in: int | None
    tokens_out: int | None
    duration_ms: float | None
    own: dict[str, Any]
    artifacts: list[dict[str, str]]
    run: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} at {self.path!r}: {self.status}" + (f", {self.error}" if self.error else "")


class RecordedTrace:
    """Reads a trace file, each time anew, once all that was recorded is in it.

    Args:
        path: the trace file.
        flush: called before each reading; ``App.flush`` of the application that writes it.
    """

    def __init__(self, path: str | Path, flush: Callable[[], object] = lambda: None) -> None:
        self.path, self._flush = Path(path), flush

    def spans(self, kind: str | None = None, name: str | None = None, **fields: Any) -> list[RecordedSpan]:
        """Spans of all runs in the order in which they began, those that match; fields as in :class:`RecordedSpan`.

        Empty where nothing was recorded.
        """
        wanted = {"kind": kind, "name": name, **fields}
        wanted = {key: value for key, value in wanted.items() if value is not None or key in fields}
        return [s for s in self._all() if all(getattr(s, key) == value for key, value in wanted.items())]

    @property
    def runs(self) -> list[RecordedSpan]:
        """Whole runs."""
        return self.spans("run")

    @property
    def node_calls(self) -> list[RecordedSpan]:
        """Calls of nodes."""
        return self.spans("node")

    @property
    def model_calls(self) -> list[RecordedSpan]:
        """Calls of chat models."""
        return self.spans("model")

    @property
    def tool_calls(self) -> list[RecordedSpan]:
        """Calls of tools."""
        return self.spans("tool")

    @property
    def path_of_nodes(self) -> list[str]:
        """Names of the nodes in the order in which they began."""
        return [span.name for span in self.node_calls]

    def assert_span(
        self, kind: str | None = None, name: str | None = None, *, times: int = 1, **fields: Any
    ) -> RecordedSpan:
        """The span that matches; see :func:`assert_span`."""
        return assert_span(self, kind, name, times=times, **fields)

    def __str__(self) -> str:
        return "\n".join(map(str, self._all())) or "(no span was recorded)"

    def _all(self) -> list[RecordedSpan]:
        from chainops.store.reader import Reader, decode

        self._flush()
        if not self.path.is_file():
            return []
        found = []
        with Reader(self.path) as reader:
            rows, last = [], 0
            while more := reader.runs(after=last, limit=200):
                rows += more
                last = more[-1].id
            for run in rows:
                for span in reader.spans(run.id):
                    error = None if span.error_type is None else f"{span.error_type}: {span.error_message}"
                    same = {key: getattr(span, key) for key in _SAME}
                    decoded = {"input": decode(span.input), "output": decode(span.output)}
                    own, artifacts = decode(span.attributes) or {}, decode(span.artifacts) or []
                    found.append(
                        RecordedSpan(**same, **decoded, error=error, own=own, artifacts=artifacts, run=run.run_id)
                    )
        return found


_SAME = (
    "id", "parent", "kind", "name", "path", "status", "attempt", "model", "tokens_in", "tokens_out", "duration_ms",
)  # fmt: skip


def assert_span(
    trace: RecordedTrace, kind: str | None = None, name: str | None = None, *, times: int = 1, **fields: Any
) -> RecordedSpan:
    """Assert that exactly ``times`` spans match (at least 1), and return the first.

    Where no span is wanted: ``assert not trace.spans(...)``.

    Raises:
        AssertionError: it shows every span that there is.
        ValueError: ``times`` is less than 1.
    """
    if times < 1:
        raise ValueError(f"times is {times}: use `assert not trace.spans(...)` where no span is wanted")
    found = trace.spans(kind, name, **fields)
    said = " ".join(f"{k}={v!r}" for k, v in {"kind": kind, "name": name, **fields}.items() if v is not None)
    assert len(found) == times, f"{len(found)} spans with {said}, wanted {times}; there are:\n{trace}"
    return found[0]
