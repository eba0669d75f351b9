"""Phoenix: spans with OpenInference's attributes, as its REST interface and its data frames have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from chainops.store.exchange.messages import from_any, to_openai
from chainops.store.exchange.record import OWN, Span, Trace, iso, kind_of, nanoseconds, own_of, restore, uuid_of

__all__ = ["is_span", "read", "write"]

_KINDS = {"run": "AGENT", "model": "LLM", "tool": "TOOL", "retriever": "RETRIEVER"}
_COLUMNS = ("context.", "attributes.")


def write(trace: Trace) -> dict[str, Any]:
    """A request for ``POST /v1/projects/<project>/spans``. Spans without an end are left out."""
    trace_id = uuid_of(trace.run_id).replace("-", "")
    return {"data": [_span(trace, span, trace_id) for span in trace.spans if span.end_ns is not None]}


def _span(trace: Trace, span: Span, trace_id: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "openinference.span.kind": _KINDS.get(span.kind, "CHAIN"),
        "session.id": trace.thread,
        "llm.model_name": span.model,
        "llm.token_count.prompt": span.tokens_in,
        "llm.token_count.completion": span.tokens_out,
        "metadata": _json({**trace.metadata, OWN: own_of(trace, span)}),
        "tag.tags": trace.tags or None,
    }
    if span.tokens_in is not None and span.tokens_out is not None:
        attributes["llm.token_count.total"] = span.tokens_in + span.tokens_out
    for side, value, there in (("input", span.input, span.has_input), ("output", span.output, span.has_output)):
        if there:
            plain = isinstance(value, str)
            attributes |= {f"{side}.value": value if plain else _json(value)}
            attributes |= {f"{side}.mime_type": "text/plain" if plain else "application/json"}
            if span.kind == "model":
                attributes |= _messages(side, to_openai(value))
    found: dict[str, Any] = {
        "name": span.name,
        "context": {"trace_id": trace_id, "span_id": span.id},
        "span_kind": _KINDS.get(span.kind, "CHAIN"),
        "start_time": iso(span.start_ns),
        "end_time": iso(span.end_ns or span.start_ns),
        "status_code": "ERROR" if span.error else "OK",
        "status_message": span.error or "",
        "attributes": {name: value for name, value in attributes.items() if value is not None},
        "events": [],
    }
    return found if span.parent is None else {**found, "parent_id": span.parent}


def _messages(side: str, messages: list[dict[str, Any]] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for i, message in enumerate(messages or ()):
        prefix = f"llm.{side}_messages.{i}.message"
        found |= {f"{prefix}.role": message["role"], f"{prefix}.content": message["content"] or None}
        for j, call in enumerate(message.get("tool_calls") or ()):
            function = f"{prefix}.tool_calls.{j}.tool_call.function"
            found[f"{prefix}.tool_calls.{j}.tool_call.id"] = call.get("id")
            found |= {
                f"{function}.name": call["function"]["name"],
                f"{function}.arguments": call["function"]["arguments"],
            }
    return found


def is_span(record: Mapping[str, Any]) -> bool:
    """Whether a record is one of Phoenix's spans, nested or in columns."""
    return "start_time" in record and (
        isinstance(record.get("context"), Mapping) or "context.trace_id" in record or "context.span_id" in record
    )


def read(records: Iterable[Mapping[str, Any]]) -> list[Trace]:
    """The traces of spans, nested or in columns."""
    traces: dict[str, Trace] = {}
    for record in records:
        context = record.get("context") or {
            "trace_id": record.get("context.trace_id"),
            "span_id": record.get("context.span_id"),
        }
        attributes = _flat(record.get("attributes") or _column(record, "attributes."))
        metadata = _decoded(attributes.get("metadata"))
        metadata = dict(metadata) if isinstance(metadata, Mapping) else {}
        own = metadata.pop(OWN, None)
        key = str((own or {}).get("run_id") or context["trace_id"])
        trace = traces.setdefault(key, Trace(run_id=key))
        span = restore(_read_span(record, context, attributes), own)
        trace.spans.append(span)
        trace.thread = trace.thread or attributes.get("session.id")
        if span.parent is None:
            trace.graph, trace.metadata = str((own or {}).get("graph") or span.name), metadata
            trace.tags = [str(tag) for tag in attributes.get("tag.tags") or ()]
    return list(traces.values())


def _read_span(record: Mapping[str, Any], context: Mapping[str, Any], attributes: Mapping[str, Any]) -> Span:
    parent = record.get("parent_id") or None
    said = attributes.get("openinference.span.kind") or record.get("span_kind")
    kind, failed = kind_of(said, is_root=parent is None), record.get("status_code") == "ERROR"
    given, answer = _side(attributes, "input"), _side(attributes, "output")
    if kind == "model":
        given = from_any(_listed(attributes, "input")) or from_any(given) or given
        messages = from_any(_listed(attributes, "output")) or from_any(answer)
        answer = messages[-1] if messages else answer
    return Span(
        id=str(context["span_id"]),
        parent=None if parent is None else str(parent),
        kind=kind,
        name=str(record["name"]),
        start_ns=nanoseconds(record["start_time"]) or 0,
        end_ns=nanoseconds(record.get("end_time")),
        status="error" if failed else "ok",
        error=str(record.get("status_message") or "error") if failed else None,
        input=given,
        output=answer,
        has_input=given is not None,
        has_output=answer is not None,
        model=attributes.get("llm.model_name"),
        tokens_in=_whole(attributes.get("llm.token_count.prompt")),
        tokens_out=_whole(attributes.get("llm.token_count.completion")),
    )


def _side(attributes: Mapping[str, Any], side: str) -> Any:
    value = attributes.get(f"{side}.value")
    return _decoded(value) if attributes.get(f"{side}.mime_type") == "application/json" else value


def _listed(attributes: Mapping[str, Any], side: str) -> list[Any] | None:
    """OpenInference's one attribute per part of a message, as messages."""
    prefix, found = f"llm.{side}_messages.", dict[int, dict[str, Any]]()
    for name, value in attributes.items():
        if not name.startswith(prefix):
            continue
        number, _, rest = name.removeprefix(prefix).partition(".message.")
        if not number.isdigit() or not rest:
            return None
        message = found.setdefault(int(number), {"role": "", "content": ""})
        if rest in ("role", "content"):
            message[rest] = value
        elif rest.startswith("tool_calls."):
            index, _, part = rest.removeprefix("tool_calls.").partition(".tool_call.")
            calls = message.setdefault("tool_calls", {})
            call = calls.setdefault(index, {"function": {}})
            if part.startswith("function."):
                call["function"][part.removeprefix("function.")] = value
            else:
                call[part] = value
    for message in found.values():
        if "tool_calls" in message:
            message["tool_calls"] = list(message["tool_calls"].values())
    return [found[number] for number in sorted(found)] or None


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        place = f"{prefix}{name}"
        if isinstance(value, Mapping) and place != "metadata":
            found |= _flat(value, f"{place}.")
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            for i, item in enumerate(value):
                found |= _flat(item, f"{place}.{i}.")
        else:
            found[place] = value
    return found


def _column(record: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in record.items() if k.startswith(prefix) and v is not None}


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
