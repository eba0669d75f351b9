"""A trace between systems: what all of them have, and what only chainops has, kept apart."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from chainops.store.reader import Reader, RunRow, SpanRow, decode

__all__ = ["Span", "Trace", "collect", "iso", "kind_of", "nanoseconds", "own_of", "restore", "uuid_of"]

OWN = "chainops"
"""Under this name the metadata of an exported span holds what its form has no place for."""


@dataclass(slots=True, kw_only=True)
class Span:
    """One span. ``own``: attributes by the name of the middleware. Times are nanoseconds since 1970 UTC."""

    id: str
    parent: str | None
    kind: str
    name: str
    start_ns: int
    end_ns: int | None
    status: str = "ok"
    path: str = ""
    attempt: int = 1
    error: str | None = None
    hint: str | None = None
    input: Any = None
    output: Any = None
    has_input: bool = True
    has_output: bool = True
    model: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    first_token_ns: int | None = None
    own: dict[str, Any] = field(default_factory=dict)
    artifacts: list[dict[str, str]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Trace:
    """A run with its spans, parents before children. ``scores``: (span id, name, value or label, source)."""

    run_id: str
    graph: str = ""
    thread: str | None = None
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)
    scores: list[tuple[str, str, float | str, str]] = field(default_factory=list)


def collect(reader: Reader, run: RunRow, *, content: bool = True) -> Trace:
    """A stored run. Spans that are still open stay without an end."""
    spans = [_span(row, content) for row in reader.spans(run.id)]
    scores: list[tuple[str, str, float | str, str]] = []
    for score in reader.scores(run.id):
        said = score.label if score.value is None else score.value
        if said is not None:
            scores.append((f"{score.span:016x}", score.name, said, score.source))
    metadata, tags = decode(run.meta), decode(run.tags)
    return Trace(
        run_id=run.run_id,
        graph=run.graph,
        thread=run.thread,
        tags=list(tags) if isinstance(tags, list) else [],
        metadata=dict(metadata) if isinstance(metadata, dict) else {},
        spans=spans,
        scores=scores,
    )


def _span(row: SpanRow, content: bool) -> Span:
    error = None if row.error_type is None else f"{row.error_type}: {row.error_message or ''}"
    own, artifacts = decode(row.attributes), decode(row.artifacts)
    return Span(
        id=f"{row.id:016x}",
        parent=None if row.parent is None else f"{row.parent:016x}",
        kind=row.kind,
        name=row.name,
        start_ns=row.start_ns,
        end_ns=row.end_ns,
        status=row.status,
        path=row.path,
        attempt=row.attempt,
        error=error,
        hint=row.error_hint,
        input=decode(row.input) if content else None,
        output=decode(row.output) if content else None,
        has_input=content and row.input is not None,
        has_output=content and row.output is not None,
        model=row.model,
        tokens_in=row.tokens_in,
        tokens_out=row.tokens_out,
        tokens_cached=row.tokens_cached,
        first_token_ns=row.first_token_ns,
        own=own if isinstance(own, dict) else {},
        artifacts=artifacts if isinstance(artifacts, list) else [],
    )


def own_of(trace: Trace, span: Span) -> dict[str, Any]:
    """What a form of another system has no place for, as JSON for its metadata."""
    found: dict[str, Any] = {
        "run_id": trace.run_id,
        "graph": trace.graph,
        "kind": span.kind,
        "path": span.path,
        "status": span.status,
    }
    found |= {"attempt": span.attempt, "hint": span.hint, "first_token_ns": span.first_token_ns}
    found |= {"start_ns": span.start_ns, "end_ns": span.end_ns, "tokens_cached": span.tokens_cached}
    found |= {"attributes": span.own or None, "artifacts": span.artifacts or None}
    return {name: value for name, value in found.items() if value is not None}


def restore(span: Span, own: Mapping[str, Any] | None) -> Span:
    """``span`` with what :func:`own_of` had put aside; unchanged where it comes from elsewhere."""
    if not isinstance(own, Mapping) or "kind" not in own:
        return span
    span.kind, span.path, span.status = str(own["kind"]), str(own.get("path", "")), str(own.get("status", span.status))
    span.attempt, span.hint = int(own.get("attempt", 1)), own.get("hint")
    span.first_token_ns, span.tokens_cached = own.get("first_token_ns"), own.get("tokens_cached")
    span.start_ns, span.end_ns = int(own.get("start_ns", span.start_ns)), own.get("end_ns", span.end_ns)
    span.own, span.artifacts = dict(own.get("attributes") or {}), list(own.get("artifacts") or [])
    return span


def kind_of(said: str | None, *, is_root: bool) -> str:
    """The kind of call that another system's word means: ``LLM``, ``generation``, ``CHAT_MODEL``, ``tool`` ..."""
    word = (said or "").lower()
    if word in ("llm", "generation", "chat_model", "chat", "completion"):
        return "model"
    if word in ("tool", "retriever"):
        return word
    return "run" if is_root else "node"


def uuid_of(*parts: str) -> str:
    """The UUID that ``parts`` always have; the first part itself where it is the only one and is a UUID."""
    if len(parts) == 1:
        try:
            return str(uuid.UUID(parts[0]))
        except ValueError:
            pass
    return str(uuid.UUID(bytes=hashlib.sha256("/".join(parts).encode()).digest()[:16], version=5))


def iso(ns: int) -> str:
    """Nanoseconds as UTC time with microseconds: ``2026-11-21T08:00:00.000001Z``."""
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06}Z"


def nanoseconds(value: Any) -> int | None:
    """Nanoseconds of a time as other systems write it: ISO text (UTC unless it says otherwise), or a number."""
    if value is None or value == "":
        return None
    if isinstance(value, int | float):  # seconds, milliseconds, microseconds or nanoseconds: told by their size
        for scale in (10**9, 10**6, 10**3, 1):
            if abs(value) * scale < 10**19:
                return int(value * scale)
        return int(value)
    moment = datetime.fromisoformat(str(value).strip().replace("Z", "+00:00").replace(" UTC", "+00:00"))
    moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * 10**9 + moment.microsecond * 1000
