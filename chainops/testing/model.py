"""A chat model that answers from a script: the only fake of the project."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import ConfigDict, Field, PrivateAttr

from chainops.calls import ModelCall, ModelResult, tool_call_chunks
from chainops.errors import CallError

__all__ = ["ScriptedModel"]

Line = str | AIMessage | Exception | Callable[[Sequence[BaseMessage]], Any]


class ScriptedModel(BaseChatModel):
    """Answers call by call from ``script``: a text, an ``AIMessage`` (tool calls, usage), or an exception to raise.

    A line may also be a function of the messages that returns one of these. Streams word by word, counts one token
    per word, and is itself a handler: ``Pipeline([...]).around_model(model)``.

    Args:
        script: the answers, in order. After the last one a call raises ``CallError``, unless ``repeat`` is set.
        repeat: start over after the last line.
        delay: seconds to wait before each token (and once before an answer in one piece).
        gate: when given, each call first waits until this event is set; for tests of cancellation.

    Attributes:
        calls: the messages of every call so far.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    script: list[Any]
    repeat: bool = False
    delay: float = 0.0
    gate: asyncio.Event | None = Field(default=None, exclude=True)
    model_name: str = "scripted"
    calls: list[list[BaseMessage]] = Field(default_factory=list, exclude=True)
    _turn: Iterator[int] = PrivateAttr(default_factory=itertools.count)

    def __init__(self, script: Sequence[Line] = (), **kwargs: Any) -> None:
        super().__init__(script=list(script), **kwargs)  # type: ignore[call-arg]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    async def __call__(self, call: ModelCall) -> ModelResult:
        """As the innermost handler of a pipeline."""
        if not call.streaming:
            result = await self._agenerate(list(call.messages))
            return ModelResult(message=result.generations[0].message)  # type: ignore[arg-type]
        total: AIMessageChunk | None = None
        async for chunk in self._astream(list(call.messages)):
            message: AIMessageChunk = chunk.message  # type: ignore[assignment]
            total = message if total is None else total + message
            await call.emit(message)
        if total is None:
            raise CallError("The script's line is empty", code="testing.script")
        return ModelResult(message=total)

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with ``tools`` bound; the script decides what it calls."""
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _next(self, messages: list[BaseMessage]) -> AIMessage:
        self.calls.append(list(messages))
        turn = next(self._turn)
        if turn >= len(self.script) and not (self.repeat and self.script):
            raise CallError(
                f"ScriptedModel was called {turn + 1} times, its script has {len(self.script)} lines",
                hint="Add lines, or pass repeat=True.",
                code="testing.script",
            )
        line = self.script[turn % len(self.script)]
        if callable(line) and not isinstance(line, BaseMessage):
            line = line(messages)
        if isinstance(line, Exception):
            raise line
        message = AIMessage(line) if isinstance(line, str) else line.model_copy()
        if message.usage_metadata is None:
            message.usage_metadata = _usage(messages, message)
        message.response_metadata = {"model_name": self.model_name, **message.response_metadata}
        return message

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = self._next(messages)
        if self.delay:
            time.sleep(self.delay)
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        message = self._next(messages)
        if self.gate is not None:
            await self.gate.wait()
        if self.delay:
            await asyncio.sleep(self.delay)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in _chunks(self._next(messages)):
            if self.delay:
                time.sleep(self.delay)
            yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        message = self._next(messages)
        if self.gate is not None:
            await self.gate.wait()
        for chunk in _chunks(message):
            if self.delay:
                await asyncio.sleep(self.delay)
            yield ChatGenerationChunk(message=chunk)


def _usage(messages: Sequence[BaseMessage], answer: AIMessage) -> UsageMetadata:
    read = sum(len(str(message.text).split()) for message in messages)
    written = len(str(answer.text).split()) + len(answer.tool_calls)
    return UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)


def _chunks(message: AIMessage) -> Iterator[AIMessageChunk]:
    """The message word by word, tool calls after the text, usage and metadata on the last chunk."""
    words = re.findall(r"\S+\s*|\s+", str(message.text))
    for word in words:
        yield AIMessageChunk(content=word, id=message.id)
    yield AIMessageChunk(
        content="",
        id=message.id,
        tool_call_chunks=tool_call_chunks(message),
        usage_metadata=message.usage_metadata,
        response_metadata=message.response_metadata,
        chunk_position="last",
    )
