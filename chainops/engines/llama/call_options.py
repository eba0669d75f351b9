"""What one call may change: sampling, length, tools. What it cannot do is refused, never ignored."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from chainops.engines.llama.request import Ask
from chainops.engines.llama.sampling import Sampling
from chainops.errors import CallError, SetupError

__all__ = ["make_ask", "tool_choice_name"]

RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 100),
    "top_k": (0, 1 << 31),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "repeat_penalty": (0, 10),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "max_tokens": (1, 1 << 31),
    "timeout": (0, 1e9),
}
WHOLE = frozenset({"top_k", "max_tokens", "seed", "priority"})
MAY_BE_NONE = frozenset({"seed", "max_tokens", "timeout"})
OTHER = frozenset(
    {
        *("adapter", "logprobs", "model", "parallel_tool_calls", "response_format", "stream", "tool_choice", "tools"),
        "top_logprobs",
    }
)
MAX_TOP_LOGPROBS = 20
MAX_BIAS = 100
RESERVED_CHOICES = frozenset({"auto", "none", "any", "required"})


def _check_number(name: str, value: Any) -> None:
    if value is None and name in MAY_BE_NONE:
        return
    wanted = int if name in WHOLE else (int, float)
    low, high = RANGES.get(name, (-math.inf, math.inf))
    if isinstance(value, bool) or not isinstance(value, wanted) or not low <= value <= high:
        kind = "a whole number" if name in WHOLE else "a number"
        raise CallError(f"{name}={value!r} is not {kind} in {low:g}..{high:g}", code="call.option")


def make_ask(
    messages: list[dict[str, Any]],
    stop: Sequence[str],
    defaults: Mapping[str, Any],
    kwargs: Mapping[str, Any],
    *,
    model_name: str,
) -> Ask:
    """The request for one call.

    Args:
        messages: the conversation as dictionaries.
        stop: stop strings.
        defaults: sampling options of the model object.
        kwargs: what the call gives: any of ``defaults``, and ``tools``, ``tool_choice``, ``parallel_tool_calls``,
            ``response_format``, ``logprobs``, ``top_logprobs``, ``adapter``, ``model`` (only the name of this model),
            ``stream`` (LangChain's, without effect here).

    Raises:
        CallError: code ``call.option``: unknown, out of range, or not possible together.
    """
    unknown = set(kwargs) - set(defaults) - OTHER
    if unknown:
        raise CallError(
            f"ChatLlama does not know the call option {sorted(unknown)[0]!r}",
            hint="Known: " + ", ".join(sorted({*defaults, *OTHER})) + ".",
            code="call.option",
        )
    if kwargs.get("model") not in (None, model_name):
        raise CallError(
            f"This object runs {model_name!r}, not {kwargs['model']!r}",
            hint="Make another ChatLlama for another file.",
            code="call.option",
        )
    if not messages:
        raise CallError("There are no messages to answer", code="call.content")
    options = {**defaults, **{name: value for name, value in kwargs.items() if name in defaults}}
    options["logit_bias"] = _biases(options.get("logit_bias"))
    for name, value in options.items():
        if name != "logit_bias":
            _check_number(name, value)
    max_tokens, timeout, priority = options.pop("max_tokens"), options.pop("timeout"), options.pop("priority")
    tools = list(kwargs.get("tools") or ())
    choice = tool_choice_name(kwargs.get("tool_choice"), tools)
    forced = choice not in ("auto", "none")
    answer_schema = _answer_schema(kwargs.get("response_format"))
    if answer_schema and forced:
        raise CallError(
            "response_format and a forced call exclude each other: the answer cannot be both",
            hint="Leave one of them out, or give tool_choice='auto' or 'none'.",
            code="call.option",
        )
    return Ask(
        messages=messages,
        tools=tools,
        tools_callable=bool(tools) and choice != "none",
        one_call=kwargs.get("parallel_tool_calls") is False,
        sampling=Sampling(**options),
        max_tokens=max_tokens,
        stop=tuple(stop),
        forced=choice if forced else "",
        timeout=timeout,
        priority=priority,
        answer_schema=answer_schema,
        top_logprobs=_top_logprobs(kwargs.get("logprobs"), kwargs.get("top_logprobs")),
    )


def _biases(wanted: Any) -> tuple[tuple[int, float], ...]:
    """OpenAI's ``logit_bias``, whose keys may be text, as pairs."""
    try:
        pairs = tuple(sorted((int(token), float(bias)) for token, bias in dict(wanted or {}).items()))
    except (TypeError, ValueError):
        pairs = ((0, math.nan),)
    if not all(abs(bias) <= MAX_BIAS for _, bias in pairs):
        raise CallError(
            f"logit_bias={wanted!r} does not give tokens a number in {-MAX_BIAS}..{MAX_BIAS}",
            hint="Give {token: bias}; model.get_token_ids(text) tells the tokens of a text.",
            code="call.option",
        )
    return pairs


def _answer_schema(wanted: Any) -> str:
    """The JSON schema of OpenAI's ``response_format``, as JSON text; empty for text."""
    kind = wanted.get("type") if isinstance(wanted, Mapping) else wanted
    if kind is None or kind == "text":
        return ""
    if kind == "json_object":
        return '{"type": "object"}'
    inner = wanted.get("json_schema") if isinstance(wanted, Mapping) else None
    schema = inner.get("schema") if kind == "json_schema" and isinstance(inner, Mapping) else None
    if not isinstance(schema, Mapping):
        raise CallError(
            f"response_format={wanted!r} is not known",
            hint='Give {"type": "json_schema", "json_schema": {"schema": {...}}}, or the type "json_object" or "text".',
            code="call.option",
        )
    return json.dumps(schema)


def _top_logprobs(wanted: Any, top: Any) -> int | None:
    if wanted not in (None, True, False):
        raise CallError(f"logprobs={wanted!r} is neither True nor False", code="call.option")
    if top is None:
        return 0 if wanted else None
    if isinstance(top, bool) or not isinstance(top, int) or not 0 <= top <= MAX_TOP_LOGPROBS or not wanted:
        raise CallError(
            f"top_logprobs={top!r} with logprobs={wanted!r} is not possible",
            hint=f"Give a whole number in 0..{MAX_TOP_LOGPROBS}, and logprobs=True.",
            code="call.option",
        )
    return top


def tool_choice_name(choice: Any, tools: Sequence[Mapping[str, Any]]) -> str:
    """``"auto"``, ``"none"``, ``"any"`` or the name of one of ``tools``.

    Raises:
        SetupError: code ``setup.tool_choice``.
    """
    if isinstance(choice, Mapping):
        function = choice.get("function")
        choice = function.get("name") if isinstance(function, Mapping) else choice.get("name")
    elif choice is None or choice is False:
        choice = "auto"
    elif choice is True or choice == "required":
        choice = "any"
    names = [tool["function"]["name"] for tool in tools]
    if choice in ("auto", "none") or choice in names or (choice == "any" and names):
        return str(choice)
    raise SetupError(
        f"tool_choice {choice!r} is none of the bound tools {names}",
        hint=f"Give one of their names, or one of {sorted(RESERVED_CHOICES)}.",
        code="setup.tool_choice",
    )
