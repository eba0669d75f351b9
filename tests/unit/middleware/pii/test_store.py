"""No file that anything of ours writes holds a plain value."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph

import chainops
from chainops.middleware.cache import Cache
from chainops.middleware.pii import Pii
from chainops.middleware.trace import Trace
from chainops.pipeline import Pipeline
from chainops.testing import ScriptedModel

KEY = "ab" * 32
TEXT = """User: John Doe, email john@example.com. My Aadhaar is 2345 6789 0124, card 4111 1111 1111 1111,
IBAN DE89 3704 0044 0532 0130 00, call +49 30 901820, SSN 531-21-7351, born 12 March 1980, my password is hunter2!x,
key sk-abcdEFGH1234567890abcd, from 10.20.30.40. I live in Bangalore, 12 Baker Street."""
PLAIN = [
    "John Doe", "john@example.com", "2345 6789 0124", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00",
    "30 901820", "531-21-7351", "12 March 1980", "hunter2!x", "sk-abcdEFGH1234567890abcd", "10.20.30.40", "Bangalore",
    "12 Baker Street", "owner@shop.example", "model@shop.example", "4929 1111", "boom@shop.example",
]  # fmt: skip


@tool
def look_up(who: str) -> str:
    """Look up."""
    return f"{who}: owner@shop.example"


def graph_of(pipeline, saver, model):
    async def answer(state):
        found = await look_up.ainvoke({"who": str(state["messages"][0].text)})
        said = AIMessage(found, name="john@example.com", response_metadata={"echo": [{"of": TEXT}]})
        return {"messages": [said, await model.ainvoke(state["messages"], temperature=0)]}

    async def fail(state):
        if "fail" in state["messages"][-1].text:
            raise ValueError("Cannot write to boom@shop.example")
        return {}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_node("fail", fail)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", "fail")
    return chainops.instrument(builder.compile(checkpointer=saver), pipeline)


def held_in(folder):
    """Every plain value that some file of the folder holds, with the file."""
    found = []
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            raw = file.read_bytes()
            for value in PLAIN:
                forms = {value, value.replace(" ", ""), value.replace("-", "")}
                found += [(file.name, form) for form in forms if len(form) > 7 and form.encode() in raw]
                found += [(file.name, form) for form in forms if len(form) > 7 and form.encode("utf-16-le") in raw]
    return found


async def run_all(tmp_path, trace_options, stream):
    pii = Pii(tmp_path / "vault.db", key=KEY)
    trace = Trace(tmp_path / "trace.db", **trace_options(pii))
    cache = Cache(tmp_path / "cache", tools=("look_up",), only_deterministic=False)
    model = ScriptedModel(["Write to model@shop.example, <PERSON_1>.", "fail"], repeat=True)
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "checkpoints.db")) as saver:
        graph = graph_of(Pipeline([trace, pii, cache]), saver, model)
        config = {
            "configurable": {"thread_id": "t1"},
            "metadata": {"user": "john@example.com"},
            "tags": ["for john@example.com"],
        }
        asked = {"messages": [HumanMessage(TEXT)]}
        if stream:
            text = "".join([m.text async for m, _ in graph.astream(asked, config, stream_mode="messages")])
        else:
            text = (await graph.ainvoke(asked, config))["messages"][-1].text
        assert "Write to model@shop.example, John Doe." in text
        with pytest.raises(ValueError, match=r"boom@shop\.example"):
            await graph.ainvoke({"messages": [HumanMessage("And 4929 1111 1111 1113?")]}, config)
        await asyncio.to_thread(trace.flush)
        # while everything is open: what is in the logs of SQLite counts too
        held = held_in(tmp_path)
        names = {file.name for file in tmp_path.iterdir()}
        assert {"vault.db-wal", "trace.db-wal", "checkpoints.db-wal"} <= names
    return pii, trace, held


@pytest.mark.parametrize("stream", [False, True])
async def test_no_file_holds_a_plain_value_and_no_log_of_sqlite_does(tmp_path, stream):
    pii, trace, held = await run_all(tmp_path, lambda pii: {"mask": pii.scrubber()}, stream)
    assert held == []
    with sqlite3.connect(tmp_path / "trace.db") as db:
        spans = [row[0] for row in db.execute("SELECT input FROM span WHERE kind = 'model'")]
    assert spans and all("<PERSON_1>" in str(span) for span in spans)
    trace.close()
    pii.close()
    assert held_in(tmp_path) == []


async def test_the_search_of_the_files_would_find_one(tmp_path):
    """Without the mask the trace, which stands outside, holds what came in: the check above can fail."""
    pii, trace, held = await run_all(tmp_path, lambda pii: {}, False)
    files = {file for file, _ in held}
    assert files
    assert all(name.startswith("trace.db") for name in files)
    trace.close()
    pii.close()


async def test_an_app_gives_its_trace_the_mask(tmp_path):
    app = chainops.App(
        pipeline={"middleware": ["trace", "pii"]},
        trace={"path": tmp_path / "trace.db"},
        pii={"vault": tmp_path / "vault.db", "key": KEY},
    )
    with app:
        model = ScriptedModel([lambda messages: messages[-1].text])

        async def answer(state):
            return {"messages": [await model.ainvoke(state["messages"])]}

        builder = StateGraph(MessagesState)
        builder.add_node("answer", answer)
        builder.add_edge(START, "answer")
        state = await app.instrument(builder.compile()).ainvoke({"messages": [HumanMessage(TEXT)]})
    assert "john@example.com" in state["messages"][-1].text
    assert held_in(tmp_path) == []
