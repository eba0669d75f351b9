"""Spans in the words of others: OpenTelemetry's GenAI conventions and OpenInference, both at once.

Names: the ``gen_ai.*`` attributes of opentelemetry-semantic-conventions 0.66b1 (status Development) and those of
openinference-semantic-conventions 0.1.42. What neither names stands under ``chainops.*``.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import orjson

from chainops.store.reader import RunRow, SpanRow, decode

__all__ = ["attributes_of", "span_id", "span_name", "trace_id"]

_OPENINFERENCE_KIND = {"run": "AGENT", "model": "LLM", "tool": "TOOL", "retriever": "RETRIEVER"}
_KNOWN = ("request", "streaming", "finish_reason", "provider", "tool_call_id")
_REQUEST = ("temperature", "max_tokens", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty")
_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "system": "system", "tool": "tool"}


def trace_id(run: RunRow) -> str:
    """32 hex digits: the run's UUID, or a hash of an id that is none."""
    try:
        return uuid.UUID(run.run_id).hex
    except ValueError:
        return hashlib.sha256(run.run_id.encode()).hexdigest()[:32]


def span_id(span: int) -> str:
    """16 hex digits."""
    return f"{span:016x}"


def span_name(span: SpanRow) -> str:
    """What OpenTelemetry calls such a span: "chat tiny", "execute_tool lookup"; else its own name."""
    if span.kind == "model":
        return f"chat {span.model or span.name}"
    if span.kind == "tool":
        return f"execute_tool {span.name}"
    if span.kind == "run":
        return f"invoke_agent {span.name}"
    return span.name


def attributes_of(run: RunRow, span: SpanRow, *, content: bool = True) -> dict[str, Any]:
    """All attributes of a span; values are text, numbers, booleans or lists of them.

    With ``content=False`` inputs, outputs and messages are left out.
    """
    own = decode(span.attributes) or {}
    found: dict[str, Any] = {
        "openinference.span.kind": _OPENINFERENCE_KIND.get(span.kind, "CHAIN"),
        "chainops.kind": span.kind,
        "chainops.path": span.path,
        "chainops.attempt": span.attempt,
        "chainops.status": span.status,
        "chainops.run_id": run.run_id,
        "gen_ai.conversation.id": run.thread,
        "session.id": run.thread,
        "error.type": span.error_type,
        "chainops.error.hint": span.error_hint,
    }
    found |= {f"chainops.{k}": _text(v) for k, v in own.items() if k not in _KNOWN}
    if span.artifacts:
        found["chainops.artifacts"] = span.artifacts
    if span.kind == "run":
        found |= _of_run(run, span)
    elif span.kind in ("node", "route", "task"):
        found |= {
            "graph.node.id": span.path or span.name,
            "graph.node.name": span.name,
            "graph.node.parent_id": span.path.rpartition("/")[0] or None,
        }
    elif span.kind == "model":
        found |= _of_model(span, own, content)
    elif span.kind == "tool":
        found |= {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": span.name,
            "tool.name": span.name,
            "gen_ai.tool.call.id": own.get("tool_call_id"),
        }
        if content:
            found |= {"gen_ai.tool.call.arguments": span.input, "gen_ai.tool.call.result": span.output}
    elif span.kind == "retriever" and content:
        query = decode(span.input)
        found["gen_ai.retrieval.query.text"] = query if isinstance(query, str) else span.input
    if content:
        found |= _io("input", span.input, span.input_bytes) | _io("output", span.output, span.output_bytes)
    return {name: value for name, value in found.items() if value is not None}


def _of_run(run: RunRow, span: SpanRow) -> dict[str, Any]:
    metadata = decode(run.meta) or {}
    user = metadata.get("user_id", metadata.get("user")) if isinstance(metadata, dict) else None
    return {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": span.name,
        "agent.name": span.name,
        "tag.tags": decode(run.tags) or None,
        "metadata": run.meta,
        "user.id": None if user is None else str(user),
    }


def _of_model(span: SpanRow, own: dict[str, Any], content: bool) -> dict[str, Any]:
    request = own.get("request") or {}
    reason = own.get("finish_reason")
    total = None if span.tokens_in is None or span.tokens_out is None else span.tokens_in + span.tokens_out
    found: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": own.get("provider"),
        "llm.provider": own.get("provider"),
        "gen_ai.request.model": span.name,
        "gen_ai.response.model": span.model,
        "llm.model_name": span.model,
        "gen_ai.request.stop_sequences": request.get("stop"),
        "gen_ai.request.stream": own.get("streaming"),
        "gen_ai.response.finish_reasons": [reason] if reason else None,
        "gen_ai.response.time_to_first_chunk": None if span.first_token_ns is None else span.first_token_ns / 1e9,
        "gen_ai.usage.input_tokens": span.tokens_in,
        "gen_ai.usage.output_tokens": span.tokens_out,
        "gen_ai.usage.cache_read.input_tokens": span.tokens_cached,
        "llm.token_count.prompt": span.tokens_in,
        "llm.token_count.completion": span.tokens_out,
        "llm.token_count.total": total,
        "llm.token_count.prompt_details.cache_read": span.tokens_cached,
        "llm.invocation_parameters": _text(request) if request else None,
    }
    found |= {f"gen_ai.request.{name}": request.get(name) for name in _REQUEST}
    if content:
        given, answer = decode(span.input), decode(span.output)
        if isinstance(given, list):
            found |= _messages("input", given)
        if isinstance(answer, dict):
            found |= _messages("output", [answer])
    return found


def _messages(side: str, messages: list[Any]) -> dict[str, Any]:
    """``gen_ai.input.messages`` as one JSON text, and OpenInference's one attribute per message."""
    found: dict[str, Any] = {}
    parts = []
    for i, message in enumerate(m for m in messages if isinstance(m, dict)):
        role = _ROLES.get(message.get("type", ""), str(message.get("type", "")))
        text = message.get("content")
        text = text if isinstance(text, str) else _text(text)
        calls = message.get("tool_calls") or []
        if role == "tool":
            own = [{"type": "tool_call_response", "id": message.get("tool_call_id"), "response": text}]
        else:
            own = [{"type": "text", "content": text}] if text else []
            own += [
                {"type": "tool_call", "id": c.get("id"), "name": c.get("name"), "arguments": c.get("args")}
                for c in calls
            ]
        parts.append({"role": role, "parts": own})
        prefix = f"llm.{side}_messages.{i}.message"
        found |= {f"{prefix}.role": role, f"{prefix}.content": text or None}
        for j, call in enumerate(calls):
            function = f"{prefix}.tool_calls.{j}.tool_call.function"
            found |= {f"{function}.name": call.get("name"), f"{function}.arguments": _text(call.get("args"))}
    return {f"gen_ai.{side}.messages": _text(parts), **found}


def _io(side: str, text: str | None, size: int | None) -> dict[str, Any]:
    if text is None:
        return {}
    value = decode(text)
    plain = isinstance(value, str)
    cut = size is not None and size > len(text.encode())
    return {
        f"{side}.value": value if plain else text,
        f"{side}.mime_type": "text/plain" if plain else "application/json",
        f"chainops.{side}.bytes": size if cut else None,
    }


def _text(value: Any) -> Any:
    return value if value is None or isinstance(value, str | bool | int | float) else orjson.dumps(value).decode()
