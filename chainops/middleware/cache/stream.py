"""Streams as they were recorded, and answers made ready to be given again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from chainops.calls import Emit, ModelCall, ModelResult
from chainops.store.cache import Unfaithful, copy_value

__all__ = ["Recording", "answer_of", "replay", "value_of"]


class Recording:
    """An ``emit`` that keeps a copy of every chunk and when it came."""

    __slots__ = ("_began", "_emit", "at", "chunks")

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._began = time.perf_counter()
        self.chunks: list[Any] | None = []
        self.at: list[float] = []

    async def __call__(self, chunk: Any) -> None:
        if self.chunks is not None:
            try:
                self.chunks.append(copy_value(chunk))
                self.at.append(round(time.perf_counter() - self._began, 4))
            except Unfaithful:  # then the answer is kept in one piece
                self.chunks = None
        await self._emit(chunk)


def value_of(result: ModelResult, recording: Recording | None) -> dict[str, Any]:
    """What is kept of an answer. Raises ``Unfaithful``."""
    found: dict[str, Any] = {"message": copy_value(result.message)}
    if recording is not None and recording.chunks and _adds_up(recording.chunks, result):
        found["chunks"], found["at"] = recording.chunks, recording.at
    return found


def _adds_up(chunks: Sequence[Any], result: ModelResult) -> bool:
    """A layer inside may have streamed less than it returned."""
    return "".join(str(chunk.text) for chunk in chunks) == result.text


def answer_of(value: Mapping[str, Any], before: Sequence[Any], raw: Mapping[str, Any]) -> tuple[ModelResult, list[Any]]:
    """A fresh answer and its chunks. Tool calls get new ids where the messages ``before`` use theirs already."""
    from langchain_core.messages import AIMessageChunk, message_chunk_to_message

    message = copy_value(value["message"])
    chunks: list[Any] = copy_value(value.get("chunks") or [])
    if message.tool_calls and (ids := _taken(message.tool_calls, before)):
        for part in (message, *chunks):
            _rename(part.__dict__, ids)
    if isinstance(message, AIMessageChunk):
        message = message_chunk_to_message(message)
        message.id = None
    return ModelResult(message=message, raw=raw), chunks


def _taken(calls: Sequence[Mapping[str, Any]], before: Sequence[Any]) -> dict[str, str]:
    """New ids for those of ``calls`` that a conversation has seen: two calls in it must not share one."""
    used = {call.get("id") for message in before for call in getattr(message, "tool_calls", None) or ()}
    return {call["id"]: f"call_{uuid4().hex[:24]}" for call in calls if call["id"] in used and call["id"]}


def _rename(value: Any, ids: Mapping[str, str]) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("id", "tool_call_id") and isinstance(item, str) and item in ids:
                value[key] = ids[item]
            else:
                _rename(item, ids)
    elif isinstance(value, list):
        for item in value:
            _rename(item, ids)


async def replay(call: ModelCall, result: ModelResult, chunks: Sequence[Any], at: Sequence[float], pace: bool) -> None:
    """Send an answer to whoever reads the stream: in the recorded pieces, or in one where none were recorded."""
    if not call.streaming:
        return
    if not chunks:
        await call.emit(result.as_chunk())
        return
    began = time.perf_counter()
    for i, chunk in enumerate(chunks):
        if pace and i < len(at):
            wait = at[i] - (time.perf_counter() - began)
            if wait > 0:
                await asyncio.sleep(wait)
        await call.emit(chunk)
