"""Between LangChain's results and chunks, and what layers see of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from chainops.calls import ModelCall, ModelResult
from chainops.errors import CallError

__all__ = ["Answer", "Edge", "chat_result", "model_result"]


class Edge:
    """Between LangChain's generation chunks and the message chunks that layers see."""

    def __init__(self, call: ModelCall) -> None:
        self.call = call
        self.entered: dict[int, ChatGenerationChunk] = {}
        self.left: list[Any] = []

    def enter(self, chunk: ChatGenerationChunk) -> AIMessageChunk:
        # a layer that holds chunks back may still emit them unchanged; older ones are rebuilt from their message
        if len(self.entered) > 256:
            self.entered = dict(list(self.entered.items())[-64:])
        self.entered[id(chunk.message)] = chunk
        return chunk.message  # type: ignore[return-value]

    def leave(self, message: Any) -> ChatGenerationChunk:
        self.left.append(message)
        message = _own(message, self.call)
        known = self.entered.get(id(message))
        return known if known is not None and known.message is message else ChatGenerationChunk(message=message)

    def rest(self, result: Any) -> Iterator[ChatGenerationChunk]:
        """What is still owed when nothing was emitted: a cache hit, a refusal.

        LangChain builds the answer from the chunks that left. A layer that changed only the result has
        therefore changed nothing, and what it wanted to hide is out: that must not pass in silence.
        """
        answer = _checked(result)
        if not self.left:
            yield ChatGenerationChunk(message=_own(answer.as_chunk(), self.call))
            return
        text = "".join(str(message.text) for message in self.left)
        if text != answer.text:
            raise _mismatch(f"another text ({len(answer.text)} characters)", f"({len(text)} characters)")
        returned, streamed = _tool_calls([answer.message]), _tool_calls(self.left)
        if returned != streamed:
            raise _mismatch(f"other tool calls ({_names(returned)})", f"({_names(streamed)})")


def _mismatch(returned: str, streamed: str) -> CallError:
    return CallError(
        f"A middleware returned {returned} than was streamed {streamed}",
        hint="Wrap call.emit as well as the result, or set `streaming = 'buffered'` on that middleware.",
        code="call.stream",
    )


def _tool_calls(messages: Sequence[Any]) -> list[tuple[str, Any]]:
    chunks = [message for message in messages if isinstance(message, AIMessageChunk)]
    whole = messages
    if len(chunks) > 1 and any(chunk.tool_call_chunks for chunk in chunks):
        whole = [add_ai_message_chunks(*chunks)]  # all of them: the last one says that the arguments are complete
    return [(call["name"], call["args"]) for message in whole for call in message.tool_calls]


def _names(calls: list[tuple[str, Any]]) -> str:
    return ", ".join(name for name, _ in calls) or "none"


class Answer:
    """Adds the chunks of a model's answer up."""

    def __init__(self) -> None:
        self.chunks: list[AIMessageChunk] = []

    def add(self, chunk: AIMessageChunk) -> None:
        """Keep ``chunk``."""
        # a shallow copy: LangChain writes ids and metadata into the chunk that travels on
        self.chunks.append(chunk.model_copy())

    def result(self) -> ModelResult:
        """The whole answer."""
        if not self.chunks:
            raise CallError("The model's stream ended without a chunk", hint="The model answered nothing; try again.")
        first, *more = self.chunks
        return ModelResult(message=add_ai_message_chunks(first, *more) if more else first)


def model_result(result: ChatResult) -> ModelResult:
    """What a model gave to LangChain, as layers see it."""
    return ModelResult(message=result.generations[0].message, raw={"chat_result": result})  # type: ignore[arg-type]


def _checked(result: Any) -> ModelResult:
    if not isinstance(result, ModelResult):
        raise CallError(
            f"A middleware returned {type(result).__name__} from wrap_model_call, not a ModelResult",
            hint="Return `ModelResult(message=AIMessage(...))` or what `call_next` returned.",
            code="call.result",
        )
    return result


def _own(message: Any, call: ModelCall) -> Any:
    """``message``, or a copy without id where no engine ran for this call and a layer had the answer at hand.

    A layer may give the same object every time. LangChain writes an id into it, and LangGraph takes a message of a
    known id for a new version of the old one: the second answer would replace the first in the conversation.
    """
    return message if call.guard.entries else message.model_copy(update={"id": None})


def chat_result(result: Any, call: ModelCall, reported: Sequence[Any]) -> ChatResult:
    """Back to what LangChain expects; what the layers left alone stays the same object.

    ``reported``: the messages that a model reported from inside, as they left the layers. Where a layer changed the
    text of the result, they must say the same.
    """
    answer = _checked(result)
    text = "".join(str(message.text) for message in reported)
    if reported and text != answer.text and answer.text != getattr(call.guard.result, "text", None):
        raise _mismatch(f"another text ({len(answer.text)} characters)", f"({len(text)} characters)")
    message = _own(answer.message, call)
    original: ChatResult | None = result.raw.get("chat_result")
    if original is None:
        return ChatResult(generations=[ChatGeneration(message=message)])
    first = original.generations[0]
    if first.message is message:
        return original
    if message.id is None and call.guard.entries:
        message.id = first.message.id
    changed = ChatGeneration(message=message, generation_info=first.generation_info)
    return ChatResult(generations=[changed, *original.generations[1:]], llm_output=original.llm_output)
