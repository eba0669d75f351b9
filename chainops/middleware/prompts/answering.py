"""What a prompt says of the answer to it: where reasoning stands, and which JSON it is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import orjson

from chainops.calls import ModelCall, ModelNext, ModelResult
from chainops.errors import CallError
from chainops.middleware.prompts.inputs import Check, compile_schema, explain
from chainops.middleware.prompts.reasoning import ReasoningSplitter, split_reasoning
from chainops.middleware.prompts.slots import AnyPrompt
from chainops.store.canonical import canonical

if TYPE_CHECKING:
    from langchain_core.messages import AIMessageChunk

__all__ = ["OnWrongOutput", "WrongOutput", "answer_to", "output_problems"]

OnWrongOutput = Literal["error", "score"]
KEY = "reasoning_content"
"""Where LangChain's chat models keep reasoning, among a message's ``additional_kwargs``."""


class WrongOutput(CallError):
    """An answer is not the JSON that its prompt asks for. Asking again may help."""

    default_code = "prompt.output"
    retryable = True


async def answer_to(prompt: AnyPrompt, call: ModelCall, call_next: ModelNext, on_wrong: OnWrongOutput) -> ModelResult:
    """The model's answer, its reasoning kept apart, its JSON checked, as the prompt's front matter says.

    Raises:
        WrongOutput: the answer does not fit the output schema, and ``on_wrong`` is "error".
    """
    content = prompt.content
    free = "response_format" not in call.params and content.reasoning is None  # thoughts are no JSON
    if content.output and free and _writes_json(call.model):
        wanted = {"name": _identifier(prompt.name), "schema": content.output, "strict": True}
        call = call.replace(params={**call.params, "response_format": {"type": "json_schema", "json_schema": wanted}})
    if content.reasoning is None:
        result = await call_next(call)
    else:
        result = await _reasoned(call, call_next, content.reasoning)
    if content.output:
        _check_output(prompt, call, result, on_wrong)
    return result


async def _reasoned(call: ModelCall, call_next: ModelNext, marks: Any) -> ModelResult:
    splitter = ReasoningSplitter(marks)
    streamed = False

    async def emit(chunk: AIMessageChunk) -> None:
        nonlocal streamed
        if isinstance(chunk.content, str):
            streamed = True
            answer, reasoning = splitter.feed(chunk.content)
            if chunk.chunk_position == "last":
                rest = splitter.finish()
                answer, reasoning = answer + rest[0], reasoning + rest[1]
            chunk = chunk.model_copy(update=_parts(chunk, answer, reasoning))
        await call.emit(chunk)

    result = await call_next(call.replace(emit=emit))
    if not isinstance(result.message.content, str):
        return result
    if streamed:
        answer, reasoning = splitter.finish()
        if answer or reasoning:
            from langchain_core.messages import AIMessageChunk

            await call.emit(AIMessageChunk(content=answer, additional_kwargs={KEY: reasoning} if reasoning else {}))
    answer, reasoning, state = split_reasoning(result.message.content, marks)
    call.annotate("prompts", reasoning={"state": state, "chars": len(reasoning)})
    if state == "missing":
        return result
    return result.replace(message=result.message.model_copy(update=_parts(result.message, answer, reasoning)))


def _parts(message: Any, answer: str, reasoning: str) -> dict[str, Any]:
    update: dict[str, Any] = {"content": answer}
    if reasoning:
        before = message.additional_kwargs.get(KEY, "")
        update["additional_kwargs"] = {**message.additional_kwargs, KEY: before + reasoning}
    return update


def _check_output(prompt: AnyPrompt, call: ModelCall, result: ModelResult, on_wrong: OnWrongOutput) -> None:
    if result.message.tool_calls and not result.text:
        return
    problems = output_problems(prompt.content.output, result.text)
    call.recorder.score("output_schema", 0.0 if problems else 1.0, source="rule", comment="; ".join(problems)[:500])
    if problems and on_wrong == "error":
        raise WrongOutput(
            f"The answer to prompt {prompt.name!r} (version {prompt.version}) is not what its output schema asks for: "
            f"{'; '.join(problems)}",
            hint="Ask again, mend the prompt, or set Prompts(on_wrong_output='score').",
        )


def output_problems(schema: Mapping[str, Any], text: str) -> list[str]:
    """What is wrong with ``text`` as JSON of this schema; empty when nothing is."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return [f"it is no JSON ({error})"]
    return explain(_output_check(canonical(dict(schema)))(value) or [])


@lru_cache(maxsize=256)
def _output_check(schema: bytes) -> Check:
    return compile_schema(orjson.loads(schema))[0]


def _writes_json(model: Any) -> bool:
    """True where the model says that it can be held to a JSON Schema."""
    profile = getattr(model, "profile", None)
    return isinstance(profile, Mapping) and bool(profile.get("structured_output"))


def _identifier(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)[:64]
