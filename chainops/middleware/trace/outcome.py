"""What a call's end means for its span: the status of an exception, the figures of a model's answer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from chainops.calls import ModelCall, ModelResult
from chainops.errors import Blocked, ChainopsError, is_control_flow
from chainops.middleware.trace.recorder import TraceSpan

__all__ = ["note_error", "note_model", "request_of"]

MAX_MESSAGE = 4000
_REQUEST = ("temperature", "max_tokens", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty")


def note_error(span: TraceSpan, error: BaseException) -> None:
    """Set status and error of ``span``. LangGraph's control flow is no error."""
    if is_control_flow(error):
        interrupt = getattr(sys.modules["langgraph.errors"], "GraphInterrupt", ())
        if isinstance(error, interrupt):
            span.status = "paused"
            span.run.paused = True
            span.output = span.run.masking.payload(error.args[0] if error.args else None)
        else:
            span.status = "ok"
            span.output = span.run.masking.payload(error.args[0] if error.args else None)
        return
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        span.status = "cancelled"
        return
    if isinstance(error, KeyboardInterrupt | SystemExit):
        span.status = "interrupted"
        span.more().error_type = type(error).__name__
        return
    span.status = "blocked" if isinstance(error, Blocked) else "error"
    details = span.more()
    details.error_type = type(error).__name__
    try:
        message = error.message if isinstance(error, ChainopsError) else str(error)
    except Exception:  # noqa: BLE001  a broken __str__ must not hide which error it was
        message = "<no message>"
    masking = span.run.masking
    details.error_message = masking.text(_cut(message))
    hint = getattr(error, "hint", None)
    details.error_hint = masking.text(_cut(hint)) if isinstance(hint, str) and hint else None


def _cut(text: str) -> str:
    text = text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"
    return text.encode("utf-8", "replace").decode()


def request_of(call: ModelCall) -> dict[str, Any] | None:
    """What was asked of the model beside the messages: sampling parameters, stop strings, names of tools."""
    params, model = call.params, call.model
    found: dict[str, Any] = {}
    for name in _REQUEST:
        value = params.get(name)
        if value is None:
            value = getattr(model, name, None)
        if isinstance(value, int | float):
            found[name] = value
    if call.stop:
        found["stop"] = list(call.stop)
    if tools := params.get("tools"):
        found["tools"] = [_tool_name(tool) for tool in tools]
    return found or None


def _tool_name(tool: Any) -> str:
    if isinstance(tool, Mapping):
        function = tool.get("function")
        return str((function if isinstance(function, Mapping) else tool).get("name", ""))
    return str(getattr(tool, "name", ""))


def note_model(span: TraceSpan, result: ModelResult) -> None:
    """Set model, tokens, finish reason and provider of ``span``."""
    message, details = result.message, span.more()
    meta: Mapping[str, Any] = message.response_metadata or {}
    name = meta.get("model_name") or meta.get("model")
    if isinstance(name, str) and name:
        details.model = name
    if usage := message.usage_metadata:
        details.tokens_in = usage.get("input_tokens")
        details.tokens_out = usage.get("output_tokens")
        if cached := usage.get("input_token_details"):
            details.tokens_cached = cached.get("cache_read")
    reason = meta.get("finish_reason") or meta.get("stop_reason") or meta.get("done_reason")
    if reason:
        span.attach({"finish_reason": str(reason)})
    if provider := meta.get("model_provider"):
        span.attach({"provider": str(provider)})
