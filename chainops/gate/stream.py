"""Gates around the chunks of a chat model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from chainops.calls import Emit, tool_call_chunks
from chainops.gate.gate import Gate, Watch

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

__all__ = ["GatedStream"]

_THOUGHTS = ("reasoning_content", "reasoning")
_TEXTS = ("text", "reasoning", "thinking")
_NOT_PASSED = ("tool_calls", "function_call")


class GatedStream:
    """An ``emit`` for the chunks of one answer, with a gate on every text in them.

    Texts are the content, text and reasoning blocks in it, and ``reasoning_content``; each has its own gate. What has
    no order of words is kept back until :meth:`end`, which takes it from the guarded answer: tool calls, other content
    blocks. Log-probabilities name tokens and do not pass. A chunk whose text needs no change passes as the same object.

    ::

        stream = GatedStream(call.emit, watch)
        result = await call_next(call.replace(emit=stream))
        message = ...  # result.message with every text guarded
        await stream.end(message)

    Args:
        emit: where guarded chunks go.
        watch: what must not leave as it is.
    """

    __slots__ = ("_emit", "_gates", "_id", "_kept", "_last", "_watch", "chunks")

    def __init__(self, emit: Emit, watch: Watch | Callable[[], Watch]) -> None:
        self._emit = emit
        self._watch = watch
        self._gates: dict[Any, Gate] = {}
        self._last: Any = None
        self._kept = False
        self._id: str | None = None
        self.chunks = 0
        """How many chunks came."""

    async def __call__(self, chunk: Any) -> None:
        """Take one chunk; what may leave of it leaves."""
        self.chunks += 1
        self._id = self._id or chunk.id
        passed = self._pass(chunk)
        if chunk.chunk_position == "last":
            self._last = passed
        else:
            await self._emit(passed)

    async def end(self, message: AIMessage) -> None:
        """Send what is still held. ``message``: the guarded answer, for tool calls and other blocks.

        Where no chunk came, nothing was streamed and nothing is sent.
        """
        if not self.chunks:
            return
        rest = {key: text for key, gate in self._gates.items() if (text := gate.close())}
        if not rest and not self._kept and self._last is None:
            return
        await self._emit(self._closing(message, rest))

    def _gate(self, key: Any) -> Gate:
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = Gate(self._watch)  # type: ignore[arg-type]
        return gate

    def _pass(self, chunk: Any) -> Any:
        """The chunk without what must wait; itself where nothing must."""
        changes: dict[str, Any] = {}
        content = chunk.content
        if content.__class__ is str:
            if content:
                text = self._gate("").feed(content)
                if text != content:
                    changes["content"] = text
        else:
            changes["content"] = self._blocks(content)
        if chunk.additional_kwargs:
            changes["additional_kwargs"] = self._extras(chunk.additional_kwargs)
        if chunk.tool_call_chunks or chunk.tool_calls or chunk.invalid_tool_calls:
            self._kept = True
            changes |= {"tool_call_chunks": [], "tool_calls": [], "invalid_tool_calls": []}
        if "logprobs" in chunk.response_metadata:
            changes["response_metadata"] = {k: v for k, v in chunk.response_metadata.items() if k != "logprobs"}
        return _changed(chunk, changes) if changes else chunk

    def _blocks(self, content: list[Any]) -> list[Any]:
        passed: list[Any] = []
        for i, block in enumerate(content):
            if isinstance(block, str):
                passed.append(self._gate(("", i)).feed(block))
                continue
            field = next((f for f in _TEXTS if isinstance(block.get(f), str)), None)
            if field is None or block.get("type") not in _TEXTS:
                self._kept = True
                continue
            text = self._gate((field, block.get("index", i))).feed(block[field])
            passed.append({**block, field: text})
        return passed

    def _extras(self, extras: Mapping[str, Any]) -> dict[str, Any]:
        passed = dict(extras)
        for name in _NOT_PASSED:
            if passed.pop(name, None) is not None:
                self._kept = True
        for name in _THOUGHTS:
            if isinstance(text := passed.get(name), str):
                passed[name] = self._gate((name, None)).feed(text)
        return passed

    def _closing(self, message: AIMessage, rest: Mapping[Any, str]) -> Any:
        from langchain_core.messages import AIMessageChunk

        last: Any = self._last if self._last is not None else AIMessageChunk(content="", id=self._id)
        changes: dict[str, Any] = {}
        blocks = _blocks_of(rest, message.content)
        if blocks:
            before = last.content if isinstance(last.content, list) else []
            changes["content"] = [*before, *blocks]
        elif "" in rest:
            changes["content"] = last.content + rest[""]
        thoughts = {key[0]: text for key, text in rest.items() if key and key[0] in _THOUGHTS and key[1] is None}
        extras = {n: message.additional_kwargs[n] for n in _NOT_PASSED if n in message.additional_kwargs}
        if thoughts or extras:
            before = last.additional_kwargs
            thoughts = {n: before.get(n, "") + text for n, text in thoughts.items()}
            changes["additional_kwargs"] = {**before, **thoughts, **extras}
        if self._kept:
            calls = tool_call_chunks(message)
            known = {call["id"] for call in calls}
            calls += _invalid(message, len(calls), known)
            if calls:
                fields = {name: getattr(last, name) for name in _FIELDS}
                return AIMessageChunk(**{**fields, **changes}, tool_call_chunks=calls)
        return _changed(last, changes) if changes else last


_FIELDS = (
    "content", "additional_kwargs", "response_metadata", "name", "id", "usage_metadata", "chunk_position"
)  # fmt: skip


def _blocks_of(rest: Mapping[Any, str], content: Any) -> list[Any]:
    """What is held of texts in blocks, and the blocks that did not pass, as the guarded answer has them."""
    if isinstance(content, str):
        return []
    found: list[Any] = []
    for key, text in rest.items():
        if key and key[0] in _TEXTS and key[1] is not None:
            found.append({"type": key[0], key[0]: text, "index": key[1]})
        elif key and key[0] == "":
            found.append(text)
    for block in content:
        if isinstance(block, Mapping) and block.get("type") not in _TEXTS:
            found.append(dict(block))
    return found


def _invalid(message: AIMessage, at: int, known: set[str | None]) -> list[Any]:
    from langchain_core.messages.tool import tool_call_chunk

    calls = [call for call in message.invalid_tool_calls if call.get("id") not in known]
    return [
        tool_call_chunk(name=call["name"], args=call["args"], id=call["id"], index=at + i)
        for i, call in enumerate(calls)
    ]


def _changed(chunk: Any, changes: Mapping[str, Any]) -> Any:
    """A copy with ``changes``, without the checks that LangChain makes on a new one."""
    new = copy.copy(chunk)
    new.__dict__.update(changes)
    return new
