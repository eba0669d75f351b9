"""Whether a small model's answer is good enough, by what can be seen without asking anybody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from chainops.calls import ModelCall, ModelResult
from chainops.gateway import Alias
from chainops.middleware.route.form import why_wrong_form

__all__ = ["mean_logprob", "support", "why_not_enough"]

_WORD = re.compile(r"[^\W_]{4,}|\d+")
_CUT = frozenset({"length", "max_tokens", "MAX_TOKENS"})


def why_not_enough(alias: Alias, call: ModelCall, result: ModelResult) -> str:
    """Why the next tier should be asked; empty: the answer will do."""
    message = result.message
    if not message.text and not message.tool_calls:
        return "empty"
    if message.invalid_tool_calls:
        return "a tool call that cannot be read"
    if message.response_metadata.get("finish_reason") in _CUT:
        return "cut off"
    if wrong := why_wrong_form(call, result):
        return wrong
    if alias.min_logprob is not None:
        sure = mean_logprob(message.response_metadata)
        if sure is not None and sure < alias.min_logprob:
            return f"mean log-probability {sure:.2f} < {alias.min_logprob:g}"
    if alias.min_support is not None and not message.tool_calls:
        share = support(str(message.text), call)
        if share < alias.min_support:
            return f"support {share:.2f} < {alias.min_support:g}"
    return ""


def mean_logprob(metadata: Mapping[str, Any]) -> float | None:
    """Mean log-probability (natural logarithm) of the answer's tokens, where the model reported them."""
    content = (metadata.get("logprobs") or {}).get("content") or ()
    values = [token["logprob"] for token in content if isinstance(token.get("logprob"), int | float)]
    return sum(values) / len(values) if values else None


def support(answer: str, call: ModelCall) -> float:
    """Share of the answer's words (of 4 letters or more, and numbers) that stand in the messages; 1 without any."""
    words = set(_WORD.findall(answer.lower()))
    if not words:
        return 1.0
    given = {word for message in call.messages for word in _WORD.findall(str(message.text).lower())}
    return len(words & given) / len(words)
