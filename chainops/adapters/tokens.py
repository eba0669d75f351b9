"""Tokens that a model reports to LangChain's run manager by itself: they, too, go through the layers.

Some models stream inside ``_generate`` and call ``run_manager.on_llm_new_token``. Left alone, those tokens would
reach callbacks before any rail has seen them.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from chainops.adapters.bridge import emit_sync
from chainops.calls import Emit, ModelCall
from chainops.pipeline import Pipeline

__all__ = ["no_relay", "relay_async", "relay_sync"]

Relay = Callable[[ModelCall], Any]
Reported = list[Any]


def no_relay(manager: Any) -> Relay:
    """The manager itself, for a call that no layer wraps."""
    return lambda call: manager


def relay_sync(call: ModelCall, manager: Any, pipeline: Pipeline) -> tuple[ModelCall, Relay, Reported]:
    """``call`` with an ``emit`` that ends in ``manager``, what to give the model in its place, and what got there."""
    reported: Reported = []
    if manager is None:
        return call, lambda inner: None, reported

    async def edge(message: Any) -> None:
        reported.append(message)
        manager.on_llm_new_token(message.content, chunk=ChatGenerationChunk(message=message))

    def relay(inner: ModelCall) -> Any:
        return _patched(manager, lambda message: emit_sync(pipeline, inner.emit, message))

    return call.replace(emit=edge), relay, reported


def relay_async(call: ModelCall, manager: Any) -> tuple[ModelCall, Relay, Reported]:
    """As :func:`relay_sync` for a model on an event loop, which may hand a sync manager to a worker thread."""
    reported: Reported = []
    if manager is None:
        return call, lambda inner: None, reported

    async def edge(message: Any) -> None:
        reported.append(message)
        await manager.on_llm_new_token(message.content, chunk=ChatGenerationChunk(message=message))

    def relay(inner: ModelCall) -> Any:
        loop = asyncio.get_running_loop()
        patched = copy.copy(manager)

        async def on_llm_new_token(token: Any, *, chunk: Any = None, **_: Any) -> None:
            await inner.emit(_message(token, chunk))

        def from_thread(message: Any) -> None:
            asyncio.run_coroutine_threadsafe(_awaited(inner.emit, message), loop).result()

        patched.on_llm_new_token = on_llm_new_token
        patched.get_sync = lambda: _patched(manager.get_sync(), from_thread)
        return patched

    return call.replace(emit=edge), relay, reported


def _patched(manager: Any, emit: Callable[[Any], None]) -> Any:
    patched = copy.copy(manager)

    def on_llm_new_token(token: Any, *, chunk: Any = None, **_: Any) -> None:
        emit(_message(token, chunk))

    patched.on_llm_new_token = on_llm_new_token
    return patched


def _message(token: Any, chunk: Any) -> AIMessageChunk:
    if chunk is not None and isinstance(getattr(chunk, "message", None), AIMessageChunk):
        return chunk.message  # type: ignore[no-any-return]
    return AIMessageChunk(content=token)


async def _awaited(emit: Emit, message: Any) -> None:
    await emit(message)
