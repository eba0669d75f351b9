"""One answer on its way: text and tool calls as they come, then usage, timings and the reason why it ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall, ToolCall, ToolCallChunk
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata

from chainops.engines.llama.request import Ask, Finished
from chainops.engines.llama.session import Session
from chainops.engines.llama.tools import ParsedCall, ToolCallParser
from chainops.errors import CallError

__all__ = ["Answer"]


class Answer:
    """Collects the events of one call, as one message (``add``, ``message``) or as chunks (``chunks``).

    Args:
        session: where it is asked.
        ask: what is asked.
        model_name: for the metadata.
        with_tools: read tool calls out of the text.
    """

    def __init__(self, session: Session, ask: Ask, *, model_name: str, with_tools: bool) -> None:
        self.session, self.ask = session, ask
        self._model_name = model_name
        self._parser = ToolCallParser() if with_tools else None
        self._text: list[str] = []
        self._calls: list[ParsedCall] = []
        self._finished: Finished | None = None

    def add(self, event: str | Finished) -> None:
        """Take in the next event of the session."""
        for part in self._parts(event):
            if isinstance(part, str):
                self._text.append(part)
            else:
                self._calls.append(part)

    def message(self) -> AIMessage:
        """The whole answer, after its last event."""
        return AIMessage(
            content="".join(self._text),
            tool_calls=[ToolCall(name=c.name, args=c.args, id=c.id) for c in self._calls if c.args is not None],
            invalid_tool_calls=[_invalid(call) for call in self._calls if call.args is None],
            usage_metadata=self._usage(),
            response_metadata=self._metadata(),
        )

    def chunks(self, event: str | Finished) -> Iterator[AIMessageChunk]:
        """What can be shown after ``event``; the last chunk carries usage and metadata."""
        for part in self._parts(event):
            if isinstance(part, str):
                yield AIMessageChunk(content=part)
            else:
                yield AIMessageChunk(content="", tool_call_chunks=[_chunk(part, len(self._calls))])
                self._calls.append(part)
        if self._finished is not None:
            yield AIMessageChunk(
                content="",
                usage_metadata=self._usage(),
                response_metadata=self._metadata(),
                chunk_position="last",
            )

    def _parts(self, event: str | Finished) -> Iterator[str | ParsedCall]:
        if isinstance(event, Finished):
            self._finished = event
            return self._parser.finish() if self._parser else iter(())
        return self._parser.feed(event) if self._parser else iter((event,))

    def _end(self) -> Finished:
        if self._finished is None:
            raise CallError("The answer ended without its last event", code="call.model")
        return self._finished

    def _usage(self) -> UsageMetadata:
        end = self._end()
        return UsageMetadata(
            input_tokens=end.prompt_tokens,
            output_tokens=end.completion_tokens,
            total_tokens=end.prompt_tokens + end.completion_tokens,
            input_token_details=InputTokenDetails(cache_read=end.cached_tokens),
        )

    def _metadata(self) -> dict[str, Any]:
        end = self._end()
        called = end.reason == "stop" and any(call.args is not None for call in self._calls)
        used = [{"name": use.name, "sha256": use.sha256, "scale": use.scale} for use in end.adapters]
        return {
            "model_name": self._model_name,
            "model_provider": "llama.cpp",
            "model_sha256": self.session.sha256,
            **({"adapters": used} if used else {}),
            **({"logprobs": {"content": list(end.logprobs)}} if self.ask.top_logprobs is not None else {}),
            "finish_reason": "tool_calls" if called else end.reason,
            "timings": {
                "queue_ms": end.queue_ms,
                "prefill_ms": end.prefill_ms,
                "ttft_ms": end.ttft_ms,
                "decode_ms": end.decode_ms,
                "tokens_per_second": round(end.tokens_per_second, 1),
            },
        }


def _invalid(call: ParsedCall) -> InvalidToolCall:
    return InvalidToolCall(
        type="invalid_tool_call", name=call.name or None, args=call.raw, id=call.id, error=call.error
    )


def _chunk(call: ParsedCall, index: int) -> ToolCallChunk:
    """A call that cannot be read travels with its marks: LangChain would complete and accept cut-off JSON without."""
    args = call.raw if call.args is None else json.dumps(call.args, ensure_ascii=False)
    return ToolCallChunk(type="tool_call_chunk", name=call.name or None, args=args, id=call.id, index=index)
