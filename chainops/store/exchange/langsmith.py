"""LangSmith's runs: one object per span, as its ``Run`` schema and its run queries have them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chainops.store.exchange.messages import from_any, to_openai
from chainops.store.exchange.record import OWN, Span, Trace, iso, kind_of, nanoseconds, own_of, restore, uuid_of

__all__ = ["is_run", "read", "write"]

_TYPES = {"model": "llm", "tool": "tool", "retriever": "retriever"}


def write(trace: Trace) -> list[dict[str, Any]]:
    """The runs of a trace, each root with its descendants one LangSmith trace: its id is the root's."""
    roots, order = dict[str, str](), dict[str, str]()
    first = next((span.id for span in trace.spans if span.parent is None), "")
    ids = {s.id: uuid_of(trace.run_id) if s.id == first else uuid_of(trace.run_id, s.id) for s in trace.spans}
    found = []
    for span in trace.spans:
        own = ids[span.id]
        above = span.parent if span.parent in ids else None
        roots[span.id] = own if above is None else roots[above]
        mark = f"{iso(span.start_ns).replace('-', '').replace(':', '').replace('.', '')}{own}"
        order[span.id] = mark if above is None else f"{order[above]}.{mark}"
        found.append(_run(trace, span, own, None if above is None else ids[above], roots[span.id], order[span.id]))
    return found


def _run(trace: Trace, span: Span, own: str, parent: str | None, root: str, order: str) -> dict[str, Any]:
    metadata = {**trace.metadata, OWN: own_of(trace, span)}
    if trace.thread is not None:
        metadata["thread_id"] = trace.thread
    if span.model is not None:
        metadata["ls_model_name"] = span.model
    run: dict[str, Any] = {
        "id": own,
        "trace_id": root,
        "dotted_order": order,
        "parent_run_id": parent,
        "name": span.name,
        "run_type": _TYPES.get(span.kind, "chain"),
        "start_time": iso(span.start_ns),
        "end_time": None if span.end_ns is None else iso(span.end_ns),
        "status": "pending" if span.end_ns is None else "error" if span.error else "success",
        "error": span.error,
        "inputs": _payload(span.input, "input", span.kind) if span.has_input else {},
        "outputs": _payload(span.output, "output", span.kind) if span.has_output else None,
        "tags": trace.tags,
        "extra": {"metadata": metadata},
    }
    if span.tokens_in is not None or span.tokens_out is not None:
        read, written = span.tokens_in or 0, span.tokens_out or 0
        run |= {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    return run


def _payload(value: Any, name: str, kind: str) -> dict[str, Any]:
    """LangSmith's inputs and outputs are objects: anything else stands under a name."""
    if kind == "model" and (messages := to_openai(value)) is not None:
        return {"messages": messages}
    return value if isinstance(value, dict) else {name: value}


def is_run(record: Mapping[str, Any]) -> bool:
    """Whether a record is one of LangSmith's runs."""
    return "run_type" in record and "start_time" in record


def read(records: Iterable[Mapping[str, Any]]) -> list[Trace]:
    """The traces that runs belong to, in the order in which they come."""
    traces: dict[str, Trace] = {}
    for run in records:
        metadata = dict((run.get("extra") or {}).get("metadata") or {})
        own = metadata.pop(OWN, None)
        key = str((own or {}).get("run_id") or run.get("trace_id") or run["id"])
        trace = traces.setdefault(key, Trace(run_id=key))
        parent = run.get("parent_run_id")
        if parent is None:
            trace.graph = str((own or {}).get("graph") or run["name"])
            names = ("thread_id", "session_id", "conversation_id")
            trace.thread = next((str(metadata[name]) for name in names if metadata.get(name)), None)
            trace.tags = [str(tag) for tag in run.get("tags") or ()]
            trace.metadata = {k: v for k, v in metadata.items() if k not in names and not k.startswith("ls_")}
        trace.spans.append(restore(_span(run, metadata, parent), own))
    return list(traces.values())


def _span(run: Mapping[str, Any], metadata: Mapping[str, Any], parent: Any) -> Span:
    kind = kind_of(run["run_type"], is_root=parent is None)
    # only a model's own: what a chain returns has the messages of its models, with their usage in them
    usage = (metadata.get("usage_metadata") or _usage(run.get("outputs")) or {}) if kind == "model" else {}
    error = run.get("error")
    start = nanoseconds(run["start_time"]) or 0
    return Span(
        id=str(run["id"]),
        parent=None if parent is None else str(parent),
        kind=kind,
        name=str(run["name"]),
        start_ns=start,
        end_ns=nanoseconds(run.get("end_time")),
        status="error" if error else "ok",
        error=None if not error else str(error),
        input=_value(run.get("inputs"), "input", kind),
        output=_value(run.get("outputs"), "output", kind),
        has_input=bool(run.get("inputs")),
        has_output=run.get("outputs") is not None,
        model=metadata.get("ls_model_name"),
        tokens_in=(run.get("prompt_tokens") if kind == "model" else None) or usage.get("input_tokens"),
        tokens_out=(run.get("completion_tokens") if kind == "model" else None) or usage.get("output_tokens"),
        first_token_ns=_until(start, run.get("first_token_time")),
    )


def _value(value: Any, name: str, kind: str) -> Any:
    if kind == "model" and (messages := from_any(value)) is not None:
        return messages if name == "input" else messages[-1]
    if isinstance(value, Mapping) and set(value) == {name}:
        return value[name]
    return value


def _usage(outputs: Any) -> Mapping[str, Any] | None:
    """``usage_metadata`` wherever LangChain has put it: beside the messages, or in one of them."""
    if isinstance(outputs, Mapping):
        if isinstance(outputs.get("usage_metadata"), Mapping):
            return outputs["usage_metadata"]  # type: ignore[no-any-return]
        parts: Iterable[Any] = (outputs.get(name) for name in ("generations", "messages", "message", "kwargs"))
    else:
        parts = outputs if isinstance(outputs, list) else ()
    return next((found for part in parts if (found := _usage(part)) is not None), None)


def _until(start: int, moment: Any) -> int | None:
    found = nanoseconds(moment)
    return None if found is None else max(0, found - start)
