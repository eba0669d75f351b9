"""The model calls of rails as spans: whoever asks a model finds the span of the rail for which it asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from chainops.recorder import SpanHandle

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage

__all__ = ["answer_of", "inside"]

_RAIL: ContextVar[SpanHandle | None] = ContextVar("chainops_rail", default=None)


@contextmanager
def inside(span: SpanHandle) -> Iterator[None]:
    """While this lasts, what a model is asked stands under ``span``; also in threads that ``to_thread`` begins."""
    token = _RAIL.set(span)
    try:
        yield
    finally:
        _RAIL.reset(token)


async def answer_of(model: BaseChatModel, messages: Any, **options: Any) -> AIMessage:
    """What ``model`` answers, asked by itself: without callbacks, and nobody sees its stream. A span ``model <name>``
    with the prompt, the answer and the tokens."""
    config: Any = {"callbacks": [], "tags": ["nostream"]}
    span = _RAIL.get()
    if span is None:
        return await model.ainvoke(messages, config, **options)
    name = str(getattr(model, "model_name", None) or type(model).__name__)
    with span.span(f"model {name}", input=messages) as asked:
        answer = await model.ainvoke(messages, config, **options)
        usage: Any = answer.usage_metadata or {}
        asked.set(tokens_in=usage.get("input_tokens", 0), tokens_out=usage.get("output_tokens", 0))
        asked.result(answer.content)
    return answer
