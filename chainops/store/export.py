"""Traces for other tools: JSON Lines, and OTLP as JSON to a file or to a collector. Nothing is sent unasked."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlsplit

import orjson

from chainops.errors import CallError, SetupError
from chainops.store.genai import attributes_of, span_id, span_name, trace_id
from chainops.store.reader import Reader, RunRow, SpanRow

__all__ = ["ExportReport", "chosen_runs", "export_jsonl", "export_otlp", "otlp_request", "post_otlp"]

SPANS_PER_REQUEST = 500
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What went out: ``open`` spans, which have no end yet, are left out of OTLP; ``rejected`` by the collector."""

    runs: int
    spans: int
    open: int = 0
    rejected: int = 0


def chosen_runs(reader: Reader, *, run: str | None = None, limit: int | None = None) -> Iterator[RunRow]:
    """The runs to export, oldest first: one (a prefix of its id, or "last"), or the newest ``limit``, or all."""
    if run is not None:
        yield reader.find_run(run)
        return
    if limit is not None:
        yield from reversed(reader.runs(limit=limit))
        return
    last = 0
    while rows := reader.runs(after=last, limit=200):
        yield from rows
        last = rows[-1].id


def export_jsonl(
    reader: Reader, runs: Iterable[RunRow], out: IO[str], *, content: bool = True, progress: Progress | None = None
) -> ExportReport:
    """One JSON object per span: ids, times, status, error, and the attributes of ``store.genai``."""
    count = spans = still_open = 0
    for run in runs:
        for span in reader.spans(run.id):
            line = {
                "trace_id": trace_id(run),
                "span_id": span_id(span.id),
                "parent_span_id": None if span.parent is None else span_id(span.parent),
                "name": span_name(span),
                "start_ns": span.start_ns,
                "end_ns": span.end_ns,
                "status": span.status,
                "error": None if span.error_type is None else f"{span.error_type}: {span.error_message}",
                "attributes": attributes_of(run, span, content=content),
            }
            out.write(orjson.dumps(line).decode() + "\n")
            spans += 1
            still_open += span.status == "open"
        count += 1
        if progress is not None:
            progress(count)
    return ExportReport(count, spans, still_open)


def export_otlp(
    reader: Reader,
    runs: Iterable[RunRow],
    send: Callable[[bytes], int],
    *,
    content: bool = True,
    service: str = "chainops",
    progress: Progress | None = None,
) -> ExportReport:
    """``ExportTraceServiceRequest`` messages as JSON, at most 500 spans each, handed to ``send`` one by one.

    ``send`` returns how many spans of its request were rejected.
    """
    count = total = still_open = rejected = 0
    waiting: list[tuple[RunRow, SpanRow]] = []
    for run in runs:
        for span in reader.spans(run.id):
            if span.status == "open":
                still_open += 1
                continue
            waiting.append((run, span))
            if len(waiting) == SPANS_PER_REQUEST:
                rejected += send(orjson.dumps(otlp_request(waiting, content=content, service=service)))
                total += len(waiting)
                waiting = []
        count += 1
        if progress is not None:
            progress(count)
    if waiting:
        rejected += send(orjson.dumps(otlp_request(waiting, content=content, service=service)))
        total += len(waiting)
    return ExportReport(count, total, still_open, rejected)


def otlp_request(
    spans: Iterable[tuple[RunRow, SpanRow]],
    *,
    content: bool = True,
    service: str = "chainops",
    resource: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """An ``ExportTraceServiceRequest`` of spans that have ended, in OTLP's JSON encoding: ids are hex digits.

    Args:
        content: False leaves inputs, outputs and messages out.
        service: the attribute ``service.name``.
        resource: further attributes of the resource.
    """
    from chainops import __version__

    own = {"attributes": _key_values({"service.name": service, **(resource or {})})}
    scope = {"name": "chainops", "version": __version__}
    rows = [_otlp_span(run, span, content) for run, span in spans]
    return {"resourceSpans": [{"resource": own, "scopeSpans": [{"scope": scope, "spans": rows}]}]}


def _otlp_span(run: RunRow, span: SpanRow, content: bool) -> dict[str, Any]:
    end_ns = span.start_ns if span.end_ns is None else span.end_ns  # its process died: nobody knows when
    failed = span.status in ("error", "blocked")
    found: dict[str, Any] = {
        "traceId": trace_id(run),
        "spanId": span_id(span.id),
        "name": span_name(span),
        "kind": 3 if span.kind == "model" else 1,  # CLIENT, INTERNAL
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(end_ns),
        "attributes": _key_values(attributes_of(run, span, content=content)),
        "status": {"code": 2, "message": span.error_message or span.status} if failed else {"code": 1},
    }
    if span.parent is not None:
        found["parentSpanId"] = span_id(span.parent)
    if span.error_type is not None:
        event = {"exception.type": span.error_type, "exception.message": span.error_message or ""}
        found["events"] = [{"timeUnixNano": str(end_ns), "name": "exception", "attributes": _key_values(event)}]
    return found


def _key_values(attributes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _any_value(value)} for name, value in attributes.items()]


def _any_value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_any_value(item) for item in value]}}
    return {"stringValue": str(value)}


def post_otlp(
    url: str, *, headers: dict[str, str] | None = None, timeout: float = 30.0, attempts: int = 3
) -> Callable[[bytes], int]:
    """A ``send`` for :func:`export_otlp` that posts to a collector. A URL without a path gets ``/v1/traces``.

    Answers 429, 502, 503 and 504 are tried again. Raises ``CallError`` (``call.otlp``) when it cannot be delivered.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SetupError(f"{url!r} is no http URL", hint="For example http://localhost:4318", code="setup.url")
    target = url if parts.path not in ("", "/") else f"{parts.scheme}://{parts.netloc}/v1/traces"
    sent = {"Content-Type": "application/json", **(headers or {})}

    def send(body: bytes) -> int:
        for attempt in range(1, attempts + 1):
            request = urllib.request.Request(target, data=body, headers=sent, method="POST")  # noqa: S310  checked above
            try:
                with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
                    return _rejected(answer.read())
            except urllib.error.HTTPError as error:
                with error:
                    problem, again = f"answered {error.code}", error.code in (429, 502, 503, 504)
                    wait = error.headers.get("Retry-After", "")
            except OSError as error:
                problem, again, wait = str(getattr(error, "reason", error)), False, ""
            if not again or attempt == attempts:
                break
            time.sleep(min(30.0, float(wait)) if wait.isdigit() else 0.5 * attempt)
        raise CallError(
            f"{target} {problem}", hint="Is the collector running, and is the URL its own?", code="call.otlp"
        )

    return send


def _rejected(body: bytes) -> int:
    try:
        partial = json.loads(body or b"{}").get("partialSuccess") or {}
        return int(partial.get("rejectedSpans", 0))
    except (ValueError, AttributeError, TypeError):
        return 0
