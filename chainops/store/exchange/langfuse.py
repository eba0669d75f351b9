"""Langfuse: observations as its API and exports give them, and batches as its ingestion takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from chainops.store.exchange.messages import from_any, to_openai
from chainops.store.exchange.record import OWN, Span, Trace, iso, kind_of, nanoseconds, own_of, restore, uuid_of

__all__ = ["is_record", "read", "write"]


def write(trace: Trace) -> dict[str, Any]:
    """A request for ``POST /api/public/ingestion``: the trace, its observations and its scores."""
    start = min((span.start_ns for span in trace.spans), default=0)
    user = trace.metadata.get("user_id", trace.metadata.get("user"))
    roots = [span for span in trace.spans if span.parent is None]
    body: dict[str, Any] = {
        "id": trace.run_id,
        "timestamp": iso(start),
        "name": trace.graph,
        "sessionId": trace.thread,
        "userId": None if user is None else str(user),
        "tags": trace.tags,
        "metadata": trace.metadata,
    }
    if roots:
        body |= {"input": roots[0].input, "output": roots[0].output}
    events = [_event(trace, "trace-create", iso(start), body)]
    events += [_observation(trace, span) for span in trace.spans]
    for i, (span, name, value, _) in enumerate(trace.scores):
        score = {
            "id": uuid_of(trace.run_id, "score", str(i)),
            "traceId": trace.run_id,
            "observationId": _id(trace, span),
        }
        kind = "CATEGORICAL" if isinstance(value, str) else "NUMERIC"
        events.append(
            _event(trace, "score-create", iso(start), {**score, "name": name, "value": value, "dataType": kind})
        )
    return {"batch": events}


def _id(trace: Trace, span: str) -> str:
    return uuid_of(trace.run_id, span)


def _event(trace: Trace, kind: str, when: str, body: dict[str, Any]) -> dict[str, Any]:
    body = {name: value for name, value in body.items() if value is not None}
    return {"id": uuid_of(trace.run_id, kind, str(body["id"])), "type": kind, "timestamp": when, "body": body}


def _observation(trace: Trace, span: Span) -> dict[str, Any]:
    is_model = span.kind == "model"
    body: dict[str, Any] = {
        "id": _id(trace, span.id),
        "traceId": trace.run_id,
        "parentObservationId": None if span.parent is None else _id(trace, span.parent),
        "name": span.name,
        "startTime": iso(span.start_ns),
        "endTime": None if span.end_ns is None else iso(span.end_ns),
        "level": "ERROR" if span.error else "DEFAULT",
        "statusMessage": span.error,
        "input": (to_openai(span.input) if is_model else None) or span.input,
        "output": _first(to_openai(span.output) if is_model else None) or span.output,
        "metadata": {OWN: own_of(trace, span)},
    }
    if is_model:
        body["model"] = span.model
        if span.tokens_in is not None or span.tokens_out is not None:
            read, written = span.tokens_in or 0, span.tokens_out or 0
            body["usageDetails"] = {"input": read, "output": written, "total": read + written}
        if span.first_token_ns is not None:
            body["completionStartTime"] = iso(span.start_ns + span.first_token_ns)
    return _event(trace, "generation-create" if is_model else "span-create", iso(span.start_ns), body)


def _first(messages: list[dict[str, Any]] | None) -> dict[str, Any] | None:
    return messages[0] if messages else None


def is_record(record: Mapping[str, Any]) -> bool:
    """Whether a record is a batch, a trace with observations, or an observation of Langfuse."""
    return (
        isinstance(record.get("batch"), list)
        or isinstance(record.get("observations"), list)
        or ("traceId" in record and "startTime" in record)
    )


def read(records: Iterable[Mapping[str, Any]]) -> list[Trace]:
    """The traces in batches, traces and observations, in any mixture."""
    traces: dict[str, Trace] = {}
    for kind, body in _flat(records):
        key = str(body.get("traceId") or body["id"])
        if kind == "trace":
            trace = traces.setdefault(key, Trace(run_id=key))
            trace.graph, trace.thread = str(body.get("name") or ""), body.get("sessionId")
            trace.tags, trace.metadata = list(body.get("tags") or ()), dict(_object(body.get("metadata")))
            if body.get("userId") and "user" not in trace.metadata:
                trace.metadata.setdefault("user_id", body["userId"])
        elif kind == "score":
            trace = traces.setdefault(key, Trace(run_id=key))
            said = body.get("stringValue") if body.get("value") is None else body["value"]
            if said is not None and body.get("observationId"):
                trace.scores.append(
                    (
                        str(body["observationId"]),
                        str(body["name"]),
                        said,
                        "human" if body.get("source") == "ANNOTATION" else "model",
                    )
                )
        else:
            trace = traces.setdefault(key, Trace(run_id=key, graph=str(body.get("traceName") or "")))
            trace.thread = trace.thread or body.get("sessionId")
            trace.spans.append(_span(kind, body))
    return list(traces.values())


def _flat(records: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for record in records:
        if isinstance(record.get("batch"), list):
            for event in record["batch"]:
                yield str(event["type"]).removesuffix("-create").removesuffix("-update"), event["body"]
        elif isinstance(record.get("observations"), list):
            yield "trace", record
            whole = [one for one in record["observations"] if isinstance(one, Mapping)]  # a list of ids has no spans
            yield from ((str(one.get("type", "span")).lower(), {"traceId": record["id"], **one}) for one in whole)
            for score in record.get("scores") or ():
                if isinstance(score, Mapping):
                    yield "score", {"traceId": record["id"], **score}
        else:
            yield str(record.get("type", "span")).lower(), record


def _span(kind: str, body: Mapping[str, Any]) -> Span:
    parent, own = body.get("parentObservationId"), _object(body.get("metadata")).get(OWN)
    found = kind_of(kind, is_root=parent is None)
    usage = _object(body.get("usageDetails") or body.get("usage"))
    start, error = nanoseconds(body["startTime"]) or 0, body.get("level") == "ERROR"
    began = nanoseconds(body.get("completionStartTime"))
    span = Span(
        id=str(body["id"]),
        parent=None if parent is None else str(parent),
        kind=found,
        name=str(body.get("name") or kind),
        start_ns=start,
        end_ns=nanoseconds(body.get("endTime")) or (start if kind == "event" else None),
        status="error" if error else "ok",
        error=str(body.get("statusMessage") or "error") if error else None,
        input=_value(body.get("input"), found, whole=True),
        output=_value(body.get("output"), found, whole=False),
        has_input=body.get("input") is not None,
        has_output=body.get("output") is not None,
        model=body.get("model"),
        tokens_in=usage.get("input"),
        tokens_out=usage.get("output"),
        first_token_ns=None if began is None else max(0, began - start),
    )
    return restore(span, own)


def _value(value: Any, kind: str, *, whole: bool) -> Any:
    if kind == "model" and (messages := from_any(value)) is not None:
        return messages if whole else messages[-1]
    return value


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
