"""A LangChain chat model as the engine of a call that was meant for another one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from chainops.calls import ModelCall, ModelResult
from chainops.errors import CallError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["ask"]


async def ask(model: BaseChatModel, call: ModelCall) -> ModelResult:
    """What ``model`` answers, at the methods that LangChain calls last: no callbacks, no second span.

    A streaming call streams where the model can; else its answer comes in one piece.
    """
    messages, params = list(call.messages), params_for(model, call)
    if call.streaming and _streams(model):
        return await _stream(model, call, messages, params)
    result = await model._agenerate(messages, list(call.stop) if call.stop else None, **params)
    message = result.generations[0].message
    return ModelResult(message=message, raw={"chat_result": result})  # type: ignore[arg-type]


async def _stream(model: BaseChatModel, call: ModelCall, messages: list[Any], params: dict[str, Any]) -> ModelResult:
    from langchain_core.messages.ai import add_ai_message_chunks

    chunks: list[Any] = []
    stream = model._astream(messages, list(call.stop) if call.stop else None, **params)
    async with aclosing(stream) as parts:  # type: ignore[type-var]
        async for part in parts:
            chunks.append(part.message.model_copy())  # LangChain writes into the one that travels on
            await call.emit(part.message)
    if not chunks:
        raise CallError("The model's stream ended without a chunk", hint="The model answered nothing; try again.")
    return ModelResult(message=add_ai_message_chunks(*chunks) if len(chunks) > 1 else chunks[0])


def params_for(model: BaseChatModel, call: ModelCall) -> dict[str, Any]:
    """The call's parameters in the words of ``model``: tools and the choice among them are bound anew."""
    params = dict(call.params)
    if type(call.model) is type(model) or "tools" not in params:
        return params
    from langchain_core.utils.function_calling import convert_to_openai_tool

    tools = [convert_to_openai_tool(tool) for tool in params.pop("tools")]
    options = {"tool_choice": params.pop("tool_choice")} if params.get("tool_choice") is not None else {}
    params.pop("tool_choice", None)
    bound: Any = model.bind_tools(tools, **options)
    kwargs: Mapping[str, Any] = getattr(bound, "kwargs", {})
    return {**kwargs, **params}


def _streams(model: BaseChatModel) -> bool:
    from langchain_core.language_models import BaseChatModel

    own = type(model)
    return own._astream is not BaseChatModel._astream or own._stream is not BaseChatModel._stream
