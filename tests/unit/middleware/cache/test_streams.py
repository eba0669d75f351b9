"""Streams are kept as they came, and come again as they were kept."""

import asyncio
import time
from operator import add
from typing import Annotated, TypedDict

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph

from chainops import Middleware, instrument
from chainops.middleware.cache import Cache
from chainops.testing import ScriptedModel

from .test_flight import Retry
from .test_model_calls import SAID


async def stream(it, **call):
    chunks = []

    async def emit(chunk):
        chunks.append(chunk)

    result = await it.ask(streaming=True, emit=emit, **call)
    return [chunk.text for chunk in chunks], result, chunks


async def test_a_cached_stream_has_the_pieces_of_the_first(desk):
    it = desk(["one two  three"])
    first, result, _ = await stream(it)
    again, hit, _ = await stream(it)
    assert first == again == ["one ", "two  ", "three", ""]
    assert result.text == hit.text == "one two  three"
    assert it.asked == 1
    assert it.notes.last()["kind"] == "exact"


async def test_a_stream_answers_a_call_in_one_piece_and_the_other_way_round(desk):
    it = desk(["one two", "three four"])
    await stream(it)
    whole = await it.ask()
    assert type(whole.message) is AIMessage
    assert whole.text == "one two"
    await it.ask("b")
    assert (await stream(it, text="b"))[0] == ["three four"]
    assert it.asked == 2


async def test_tool_calls_come_out_of_a_cached_stream(desk):
    it = desk([AIMessage("so", tool_calls=[{"name": "look", "args": {"a": 1}, "id": "c1"}])])
    await stream(it)
    _, hit, chunks = await stream(it)
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    assert total.tool_calls == hit.message.tool_calls
    assert hit.message.tool_calls[0]["args"] == {"a": 1}


async def test_a_stream_that_broke_off_is_not_kept(desk):
    it = desk(["one two three", "whole"])

    async def broken(chunk):
        raise Retry("the reader is gone")

    with pytest.raises(Retry):
        await it.ask(streaming=True, emit=broken)
    assert (await stream(it))[0] == ["whole", ""]


async def test_a_stream_that_nobody_reads_to_the_end_is_not_kept(desk, eventually):
    it = desk(["one two three", "whole"])
    got, hold = [], asyncio.Event()

    async def slow(chunk):
        got.append(chunk)
        await hold.wait()

    task = asyncio.create_task(it.ask(streaming=True, emit=slow))
    await eventually(lambda: got)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    it.cache.flush()
    assert (await stream(it))[0] == ["whole", ""]


async def test_callers_cannot_change_the_chunks_that_are_cached(desk):
    it = desk(["one two"], versions=SAID)
    for _ in range(3):
        texts, _, chunks = await stream(it)
        assert texts == ["one ", "two", ""]
        for chunk in chunks:
            chunk.content = "changed"
            chunk.additional_kwargs["x"] = 1


async def test_many_readers_of_one_stream_all_get_it_whole(desk):
    it = desk(["one two three"], model={"delay": 0.01})
    found = await asyncio.gather(*[stream(it) for _ in range(50)], it.ask())
    assert it.asked == 1
    assert {tuple(texts) for texts, _, _ in found[:-1]} == {("one ", "two ", "three", "")}
    assert found[-1].text == "one two three"


async def test_readers_of_a_stream_whose_leader_is_cancelled_get_it_whole(desk, eventually):
    it = desk(["one two", "one two"])
    got, hold = [], asyncio.Event()

    async def slow(chunk):
        got.append(chunk)
        await hold.wait()

    leader = asyncio.create_task(it.ask(streaming=True, emit=slow))
    await eventually(lambda: got)
    readers = [asyncio.create_task(stream(it)) for _ in range(3)]
    await asyncio.sleep(0)
    leader.cancel()
    assert [(await reader)[0] for reader in readers] == [["one ", "two", ""]] * 3
    assert it.asked == 2


async def test_a_stream_can_come_again_at_its_own_pace(desk):
    it = desk(["one two three four"], replay="pace", model={"delay": 0.02})
    await stream(it)
    began = time.perf_counter()
    texts, _, _ = await stream(it)
    assert texts == ["one ", "two ", "three ", "four", ""]
    assert time.perf_counter() - began > 0.06
    assert it.asked == 1


class Upper(Middleware):
    """Outside the cache: changes the text, in the stream and in the result."""

    name = "rails"

    async def wrap_model_call(self, call, call_next):
        async def emit(chunk):
            await call.emit(chunk.model_copy(update={"content": chunk.content.upper()}))

        result = await call_next(call.replace(emit=emit))
        message = result.message.model_copy(update={"content": result.text.upper()})
        return result.replace(message=message)


async def test_layers_outside_see_a_cached_stream_as_any_other(desk):
    it = desk(["one two"], Upper())
    assert [(await stream(it))[0] for _ in range(2)] == [["ONE ", "TWO", ""]] * 2


class State(TypedDict):
    said: Annotated[list, add]


@pytest.mark.parametrize("sync", [False, True])
async def test_a_graph_streams_tokens_from_the_cache(sync):
    model = ScriptedModel(["one two three"]).bind(temperature=0)

    async def node(state):
        return {"said": [(await model.ainvoke("hi")).text]}

    def sync_node(state):
        return {"said": [model.invoke("hi").text]}

    builder = StateGraph(State)
    builder.add_node("node", sync_node if sync else node)
    builder.add_edge(START, "node")
    cache = Cache()
    graph = instrument(builder.compile(), [cache])
    for _ in range(3):
        if sync:
            tokens = await asyncio.to_thread(lambda: [t[0].text for t in graph.stream({}, stream_mode="messages")])
        else:
            tokens = [t[0].text async for t in graph.astream({}, stream_mode="messages")]
        assert [t for t in tokens if t] == ["one ", "two ", "three"]
    assert len(model.bound.calls) == 1
