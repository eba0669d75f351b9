"""The chunks of an answer, with a gate on every text in them."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.messages.tool import tool_call_chunk

import chainops
from chainops.calls import ModelCall, ModelNext, ModelResult
from chainops.gate import GatedStream, Patterns, Rule, guard
from chainops.pipeline import Middleware, Pipeline
from chainops.testing import MiddlewareConformance, ScriptedModel

WATCH = Patterns([Rule("key", r"sk-[a-z]{4}", "<KEY>")])


class Guarded(Middleware):
    """A layer as the gate is meant to be used."""

    name = "guarded"

    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        stream = GatedStream(call.emit, WATCH)
        result = await call_next(call.replace(emit=stream))
        message = result.message.model_copy(update=cleaned(result.message))
        await stream.end(message)
        return result.replace(message=message)


def cleaned(message: Any) -> dict[str, Any]:
    calls = [{**c, "args": {k: guard(WATCH, str(v)) for k, v in c["args"].items()}} for c in message.tool_calls]
    content = message.content
    if isinstance(content, str):
        content = guard(WATCH, content)
    else:
        content = [{**b, "text": guard(WATCH, b["text"])} if "text" in b else b for b in content]
    extras = {k: guard(WATCH, v) if isinstance(v, str) else v for k, v in message.additional_kwargs.items()}
    return {"content": content, "tool_calls": calls, "additional_kwargs": extras}


class TestConformance(MiddlewareConformance):
    def make(self) -> Middleware:
        return Guarded()


async def through(chunks: list[AIMessageChunk]) -> tuple[list[AIMessageChunk], AIMessageChunk]:
    """What left of ``chunks``, and the guarded answer."""
    left: list[AIMessageChunk] = []

    async def emit(chunk: Any) -> None:
        left.append(chunk)

    stream = GatedStream(emit, WATCH)
    for chunk in chunks:
        await stream(chunk)
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    await stream.end(whole.model_copy(update=cleaned(whole)))
    return left, sum_of(left)


def sum_of(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


async def test_a_chunk_that_needs_no_change_passes_as_the_same_object() -> None:
    chunks = [AIMessageChunk(content=word) for word in ("Good", " day", " all")]
    left, _ = await through(chunks)
    assert [a is b for a, b in zip(left, chunks, strict=True)] == [True] * 3


async def test_text_is_guarded_and_what_comes_with_the_last_chunk_stays_last() -> None:
    usage = {"input_tokens": 1, "output_tokens": 3, "total_tokens": 4}
    left, whole = await through(
        [
            AIMessageChunk(content="key s", id="m1"),
            AIMessageChunk(content="k-ab", id="m1"),
            AIMessageChunk(content="cd s", id="m1", usage_metadata=usage, chunk_position="last"),  # type: ignore[arg-type]
        ]
    )
    assert [c.text for c in left] == ["key ", "", "<KEY> s"]
    assert left[-1].usage_metadata == usage
    assert left[-1].chunk_position == "last"
    assert {c.id for c in left} == {"m1"}
    assert whole.text == "key <KEY> s"


async def test_without_a_last_chunk_the_rest_leaves_in_one_of_its_own() -> None:
    left, _ = await through([AIMessageChunk(content="a s", id="m1"), AIMessageChunk(content="k", id="m1")])
    assert [(c.text, c.id) for c in left] == [("a ", "m1"), ("", "m1"), ("sk", "m1")]


async def test_reasoning_has_a_gate_of_its_own() -> None:
    left, whole = await through(
        [
            AIMessageChunk(content="s", additional_kwargs={"reasoning_content": "use sk-"}),
            AIMessageChunk(content="k-", additional_kwargs={"reasoning_content": "abcd now"}),
            AIMessageChunk(content="abcd."),
        ]
    )
    assert not any("sk-" in str(c) for c in left)
    assert whole.additional_kwargs == {"reasoning_content": "use <KEY> now"}
    assert whole.content == "<KEY>."


async def test_blocks_are_guarded_by_their_index() -> None:
    def block(index: int, kind: str, text: str) -> dict[str, Any]:
        return {"type": kind, kind: text, "index": index}

    left, whole = await through(
        [
            AIMessageChunk(content=[block(0, "text", "one sk-")]),
            AIMessageChunk(content=[block(1, "text", "two sk-"), {"type": "image", "url": "x", "index": 2}]),
            AIMessageChunk(content=[block(0, "text", "abcd"), block(1, "text", "x")]),
        ]
    )
    assert not any("sk-ab" in str(c.content) for c in left)
    texts = {b["index"]: b.get("text") for b in whole.content if isinstance(b, dict)}
    assert texts == {0: "one <KEY>", 1: "two sk-x", 2: None}


async def test_tool_calls_leave_at_the_end_as_the_guarded_answer_has_them() -> None:
    left, whole = await through(
        [
            AIMessageChunk(
                content="", tool_call_chunks=[tool_call_chunk(name="mail", args='{"to": "sk-a', id="c1", index=0)]
            ),
            AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(args='bcd"}', index=0)]),
            AIMessageChunk(content="", chunk_position="last"),
        ]
    )
    assert not any(c.tool_call_chunks for c in left[:-1])
    assert whole.tool_calls == [{"name": "mail", "args": {"to": "<KEY>"}, "id": "c1", "type": "tool_call"}]


async def test_arguments_that_are_no_json_leave_as_the_guarded_answer_has_them() -> None:
    part = AIMessageChunk(
        content="",
        tool_call_chunks=[tool_call_chunk(name="mail", args="no json", id="c1", index=0)],
        chunk_position="last",
    )
    _, whole = await through([part])
    assert whole.invalid_tool_calls[0]["name"] == "mail"
    assert whole.invalid_tool_calls[0]["args"] == "no json"


async def test_log_probabilities_do_not_pass() -> None:
    metadata = {"model_name": "m", "logprobs": {"content": [{"token": "sk-abcd"}]}}
    left, _ = await through([AIMessageChunk(content="x", response_metadata=metadata)])
    assert left[0].response_metadata == {"model_name": "m"}


async def test_nothing_is_sent_where_nothing_was_streamed() -> None:
    sent: list[Any] = []

    async def emit(chunk: Any) -> None:
        sent.append(chunk)

    await GatedStream(emit, WATCH).end(AIMessage("text"))
    assert sent == []


async def test_a_model_inside_a_graph_streams_guarded_text_only() -> None:
    from langgraph.graph import START, MessagesState, StateGraph

    model = ScriptedModel(["the key is sk-abcd, and s", "sk-wxyz"])

    async def write(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("write", write)
    builder.add_edge(START, "write")
    graph = chainops.instrument(builder.compile(), Pipeline([Guarded()]))
    question = {"messages": [HumanMessage("?")]}
    texts = [str(m.text) async for m, _ in graph.astream(question, stream_mode="messages")]  # type: ignore[misc]
    assert "".join(texts) == "the key is <KEY>, and s"
    state = await graph.ainvoke(question)  # type: ignore[arg-type]
    assert state["messages"][-1].text == "<KEY>"
