"""MLflow: traces as ``Trace.to_json()`` writes them, of both versions of their head."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from chainops.store.exchange.messages import from_any, to_openai
from chainops.store.exchange.record import OWN, Span, Trace, iso, kind_of, nanoseconds, own_of, restore, uuid_of

__all__ = ["is_trace", "read", "write"]

_KINDS = {"run": "AGENT", "model": "CHAT_MODEL", "tool": "TOOL", "retriever": "RETRIEVER"}


def write(trace: Trace) -> dict[str, Any]:
    """The trace as ``mlflow.entities.Trace.from_json`` reads it."""
    hex_id = uuid_of(trace.run_id).replace("-", "")
    start = min((span.start_ns for span in trace.spans), default=0)
    end = max((span.end_ns or span.start_ns for span in trace.spans), default=start)
    failed = any(span.error for span in trace.spans if span.parent is None)
    metadata = {"mlflow.trace_schema.version": "3", "mlflow.trace.session": trace.thread}
    metadata |= {name: value if isinstance(value, str) else _json(value) for name, value in trace.metadata.items()}
    read, written = (sum(getattr(span, name) or 0 for span in trace.spans) for name in ("tokens_in", "tokens_out"))
    if read or written:
        usage = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
        metadata["mlflow.trace.tokenUsage"] = _json(usage)
    info = {
        "trace_id": f"tr-{hex_id}",
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}},
        "request_time": iso(start),
        "execution_duration_ms": (end - start) // 1_000_000,
        "state": "ERROR" if failed else "OK",
        "trace_metadata": {name: value for name, value in metadata.items() if value is not None},
        "tags": {"mlflow.traceName": trace.graph, **{f"chainops.tag.{i}": tag for i, tag in enumerate(trace.tags)}},
    }
    return {"info": info, "data": {"spans": [_span(trace, span, hex_id) for span in trace.spans]}}


def _span(trace: Trace, span: Span, hex_id: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "mlflow.traceRequestId": f"tr-{hex_id}",
        "mlflow.spanType": _KINDS.get(span.kind, "CHAIN"),
        OWN: own_of(trace, span),
    }
    if span.has_input:
        attributes["mlflow.spanInputs"] = _payload(span.input, span.kind)
    if span.has_output:
        attributes["mlflow.spanOutputs"] = _payload(span.output, span.kind)
    if span.model is not None:
        attributes["mlflow.llm.model"] = span.model
    if span.tokens_in is not None or span.tokens_out is not None:
        read, written = span.tokens_in or 0, span.tokens_out or 0
        attributes["mlflow.chat.tokenUsage"] = {
            "input_tokens": read,
            "output_tokens": written,
            "total_tokens": read + written,
        }
    return {
        "trace_id": _base64(hex_id),
        "span_id": _base64(span.id),
        "parent_span_id": None if span.parent is None else _base64(span.parent),
        "name": span.name,
        "start_time_unix_nano": span.start_ns,
        "end_time_unix_nano": span.end_ns,
        "events": [],
        "status": {"code": "STATUS_CODE_ERROR" if span.error else "STATUS_CODE_OK", "message": span.error or ""},
        "attributes": {name: _json(value) for name, value in attributes.items()},
        "links": [],
    }


def _payload(value: Any, kind: str) -> Any:
    if kind == "model" and (messages := to_openai(value)) is not None:
        return {"messages": messages}
    return value


def is_trace(record: Mapping[str, Any]) -> bool:
    """Whether a record is one of MLflow's traces."""
    return isinstance(record.get("info"), Mapping) and isinstance((record.get("data") or {}).get("spans"), list)


def read(records: Iterable[Mapping[str, Any]]) -> list[Trace]:
    """The traces, head version 2 (``request_id``) and 3 (``trace_id``)."""
    return [_trace(record) for record in records]


def _trace(record: Mapping[str, Any]) -> Trace:
    info = record["info"]
    found = [_read_span(span) for span in record["data"]["spans"]]
    own = next((own for _, own in found if own), {})
    metadata = {**(info.get("trace_metadata") or info.get("request_metadata") or {})}
    tags = {str(name): str(value) for name, value in (info.get("tags") or {}).items()}
    root = next((span for span, _ in found if span.parent is None), None)
    return Trace(
        run_id=str(own.get("run_id") or info.get("trace_id") or info.get("request_id")),
        graph=str(own.get("graph") or tags.get("mlflow.traceName") or (root.name if root else "")),
        thread=metadata.get("mlflow.trace.session"),
        tags=[value for name, value in sorted(tags.items()) if name.startswith("chainops.tag.")],
        metadata={name: _decoded(value) for name, value in metadata.items() if not name.startswith("mlflow.")},
        spans=[restore(span, own) for span, own in found],
    )


def _read_span(span: Mapping[str, Any]) -> tuple[Span, Mapping[str, Any]]:
    attributes = {name: _decoded(value) for name, value in (span.get("attributes") or {}).items()}
    own = attributes.get(OWN)
    parent = span.get("parent_span_id") or span.get("parent_id")
    context = span.get("context") or {}
    kind = kind_of(attributes.get("mlflow.spanType"), is_root=not parent)
    usage = attributes.get("mlflow.chat.tokenUsage") or {}
    status = span.get("status") or {}
    code, message = (
        (status.get("code"), status.get("message"))
        if isinstance(status, Mapping)
        else (span.get("status_code"), span.get("status_message"))
    )
    failed = str(code or span.get("status_code") or "").endswith("ERROR")
    given, answer = attributes.get("mlflow.spanInputs"), attributes.get("mlflow.spanOutputs")
    if kind == "model":
        given = from_any(given) or given
        messages = from_any(answer)
        answer = messages[-1] if messages else answer
    read = Span(
        id=_hex(span.get("span_id") or context.get("span_id")),
        parent=_hex(parent) if parent else None,
        kind=kind,
        name=str(span["name"]),
        start_ns=nanoseconds(span.get("start_time_unix_nano") or span.get("start_time")) or 0,
        end_ns=nanoseconds(span.get("end_time_unix_nano") or span.get("end_time")),
        status="error" if failed else "ok",
        error=str(message or span.get("status_message") or "error") if failed else None,
        input=given,
        output=answer,
        has_input="mlflow.spanInputs" in attributes,
        has_output="mlflow.spanOutputs" in attributes,
        model=attributes.get("mlflow.llm.model"),
        tokens_in=usage.get("input_tokens"),
        tokens_out=usage.get("output_tokens"),
    )
    return read, own if isinstance(own, Mapping) else {}


def _base64(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def _hex(value: Any) -> str:
    """An id as hexadecimal digits: newer files have base64, older ones ``0x...``."""
    text = str(value)
    if text.startswith("0x"):
        return text[2:]
    try:
        return base64.b64decode(text, validate=True).hex()
    except (binascii.Error, ValueError):
        return text


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
