"""Typed reads of a trace file, through a read-only connection: what the commands and consoles show."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from chainops.errors import StoreError
from chainops.store.schema import explain, open_reader

__all__ = ["Reader", "RunRow", "ScoreRow", "SpanRow"]


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run with the sums over its spans. Times are nanoseconds since 1970 UTC; ``end_ns`` is None while it runs."""

    id: int
    run_id: str
    process: int
    graph: str
    thread: str | None
    status: str
    start_ns: int
    end_ns: int | None
    spans: int
    errors: int
    model_calls: int
    tool_calls: int
    tokens_in: int
    tokens_out: int
    tokens_cached: int
    first_error: str | None
    tags: str | None
    meta: str | None

    @property
    def duration_ms(self) -> float | None:
        """Milliseconds, or None without an end."""
        return None if self.end_ns is None else (self.end_ns - self.start_ns) / 1e6

    def to_json(self) -> dict[str, Any]:
        """For ``--json``: the columns, with tags and metadata decoded."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("id", "process", "meta")}
        return {
            **found,
            "tags": decode(self.tags) or [],
            "metadata": decode(self.meta) or {},
            "duration_ms": self.duration_ms,
        }


@dataclass(frozen=True, slots=True)
class SpanRow:
    """A span. ``input`` and ``output`` are JSON text, cut where ``input_bytes`` says that there was more."""

    id: int
    run: int
    parent: int | None
    kind: str
    name: str
    path: str
    attempt: int
    start_ns: int
    end_ns: int | None
    status: str
    error_type: str | None
    error_message: str | None
    error_hint: str | None
    input: str | None
    input_bytes: int | None
    output: str | None
    output_bytes: int | None
    model: str | None
    tokens_in: int | None
    tokens_out: int | None
    tokens_cached: int | None
    first_token_ns: int | None
    attributes: str | None
    artifacts: str | None

    @property
    def duration_ms(self) -> float | None:
        """Milliseconds, or None while it runs."""
        return None if self.end_ns is None else (self.end_ns - self.start_ns) / 1e6

    def to_json(self) -> dict[str, Any]:
        """For ``--json``: the columns, with everything that is JSON decoded."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "run"}
        for name in ("input", "output", "attributes", "artifacts"):
            found[name] = decode(found[name])
        return {**found, "duration_ms": self.duration_ms}


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """A judgement on a span: a number in ``value``, or text in ``label``."""

    id: int
    span: int
    name: str
    value: float | None
    label: str | None
    source: str
    comment: str
    created_ns: int

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


_RUN = ", ".join(f.name for f in fields(RunRow))
_SCORE = ", ".join(f.name for f in fields(ScoreRow))
_SPAN = ", ".join(f"s.{f.name}" for f in fields(SpanRow))
_WITH_PAYLOADS = (
    f"SELECT {_SPAN}, i.data AS input_data, o.data AS output_data FROM span s"  # noqa: S608  column names
    " LEFT JOIN payload i ON i.id = s.input_payload LEFT JOIN payload o ON o.id = s.output_payload"
)
_SPAN_NAMES = [f.name for f in fields(SpanRow)]


class Reader:
    """Reads one file. Use as a context manager.

    Raises:
        StoreError: the file is missing, empty, broken, foreign, older or newer, see ``store.schema.open_reader``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.connection = open_reader(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.connection.close()
        if isinstance(error, sqlite3.DatabaseError):
            raise explain(error, self.path) from error

    def runs(
        self,
        *,
        limit: int = 20,
        graph: str | None = None,
        thread: str | None = None,
        status: str | None = None,
        after: int | None = None,
    ) -> list[RunRow]:
        """The newest runs first; with ``after`` (a row id) those that came later, oldest first."""
        wheres = {"graph = ?": graph, "thread = ?": thread, "status = ?": status, "id > ?": after}
        given = {k: v for k, v in wheres.items() if v is not None}
        where = f"WHERE {' AND '.join(given)}" if given else ""
        order = "DESC" if after is None else "ASC"
        sql = f"SELECT {_RUN} FROM run {where} ORDER BY id {order} LIMIT ?"  # noqa: S608  own text only
        return [RunRow(*row) for row in self.connection.execute(sql, (*given.values(), limit))]

    def find_run(self, wanted: str) -> RunRow:
        """The run whose id starts with ``wanted``; "last" is the newest.

        Raises:
            StoreError: none (``store.unknown_run``), several (``store.ambiguous_run``), or no runs at all
                (``store.empty``).
        """
        newest = self.runs(limit=1)
        if not newest:
            raise StoreError(
                f"{self.path} holds no runs yet", hint="Run a graph with the trace middleware.", code="store.empty"
            )
        if wanted == "last":
            return newest[0]
        sql = f"SELECT {_RUN} FROM run WHERE run_id >= ? AND run_id < ? ORDER BY run_id LIMIT 3"  # noqa: S608
        found = [RunRow(*row) for row in self.connection.execute(sql, (wanted, wanted + "\U0010ffff"))]
        exact = [run for run in found if run.run_id == wanted]
        if exact or len(found) == 1:
            return (exact or found)[0]
        if not wanted or not found:
            raise StoreError(
                f"No run in {self.path} has an id that starts with {wanted!r}",
                hint=f"chainops trace list --db {self.path}",
                code="store.unknown_run",
            )
        raise StoreError(
            f"Several runs start with {wanted!r}: {', '.join(run.run_id for run in found)}",
            hint="Give more of the id.",
            code="store.ambiguous_run",
        )

    def spans(self, run: int) -> list[SpanRow]:
        """All spans of a run (by row id), in the order in which they began."""
        rows = self.connection.execute(f"{_WITH_PAYLOADS} WHERE s.run = ? ORDER BY s.start_ns, s.id", (run,))
        return [_span(row) for row in rows]

    def spans_by_id(self, ids: Iterable[int]) -> list[SpanRow]:
        """Spans by their ids, in the order given; unknown ones are left out."""
        found = []
        for span_id in ids:
            row = self.connection.execute(f"{_WITH_PAYLOADS} WHERE s.id = ?", (span_id,)).fetchone()
            if row is not None:
                found.append(_span(row))
        return found

    def run_of(self, row: int) -> RunRow:
        """The run with a row id."""
        sql = f"SELECT {_RUN} FROM run WHERE id = ?"  # noqa: S608
        return RunRow(*self.connection.execute(sql, (row,)).fetchone())

    def scores(self, run: int) -> list[ScoreRow]:
        """All scores on the spans of a run (by row id)."""
        sql = f"SELECT {_SCORE} FROM score WHERE run = ? ORDER BY id"  # noqa: S608
        return [ScoreRow(*row) for row in self.connection.execute(sql, (run,))]

    def dropped(self) -> int:
        """Spans that writers of this file could not store."""
        return int(self.connection.execute("SELECT coalesce(sum(dropped), 0) FROM process").fetchone()[0])


def _span(row: sqlite3.Row) -> SpanRow:
    found = {name: row[name] for name in _SPAN_NAMES}
    for name in ("input", "output"):
        if row[f"{name}_data"] is not None:
            found[name] = zlib.decompress(row[f"{name}_data"]).decode()
    return SpanRow(**found)


def decode(text: str | None) -> Any:
    """JSON text as a value; text that was cut stays text."""
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
