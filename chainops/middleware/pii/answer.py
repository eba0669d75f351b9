"""Answers on their way out: what of them streams, and values in place of placeholders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainops.calls import Call, Emit
from chainops.middleware.pii.thread import Thread, placeholders
from chainops.middleware.pii.values import rebuild

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

__all__ = ["bind", "restoring", "running_texts"]


def restoring(emit: Emit, thread: Thread) -> Emit:
    """Placeholders leave in one piece, because the gate around the model passes whole words only."""

    async def restored(chunk: Any) -> None:
        await emit(rebuild(chunk, thread.restore))

    return restored


def running_texts(message: AIMessage) -> list[str]:
    """The texts of an answer that stream: the content, text and reasoning blocks, and reasoning beside it."""
    found: list[Any] = []
    if isinstance(message.content, str):
        found.append(message.content)
    else:
        for block in message.content:
            found += [block] if isinstance(block, str) else [block.get(f) for f in ("text", "reasoning", "thinking")]
    found += [message.additional_kwargs.get(name) for name in ("reasoning_content", "reasoning")]
    return [text for text in found if isinstance(text, str) and text]


def bind(call: Call, thread: Thread, given: Any, result: Any) -> None:
    """A result with placeholders that its input has not is for this thread: elsewhere they stand for other values."""
    if any(thread.value(p) is not None for p in placeholders(result) - placeholders(given)):
        call.mark_bound()
