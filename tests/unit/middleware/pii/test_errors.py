"""What errors say is searched too, however they say it: LangGraph writes it into its checkpoints."""

from __future__ import annotations

import traceback

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel

import chainops
from chainops.middleware.pii import Pii
from chainops.pipeline import Middleware, Pipeline


class Strict(BaseModel):
    count: int


class Said(Exception):
    """Says what is not in its arguments."""

    def __init__(self, who):
        super().__init__("it failed")
        self.who = who

    def __str__(self):
        return f"no such person: {self.who}"

    __repr__ = __str__


async def plain(state):
    raise ValueError("no such person: leak@b.io")


async def noted(state):
    error = ValueError("it failed")
    error.add_note("for leak@b.io")
    raise error


async def own(state):
    raise Said("leak@b.io")


async def validation(state):
    Strict(count="leak@b.io")


async def group(state):
    raise ExceptionGroup("several", [ValueError("leak@b.io"), ExceptionGroup("more", [KeyError("leak@b.io")])])


async def group_says(state):
    raise ExceptionGroup("leak@b.io", [ValueError("it failed")])


@pytest.mark.parametrize("node", [plain, noted, own, validation, group, group_says])
async def test_no_checkpoint_holds_what_an_error_says_and_the_caller_reads_it(tmp_path, node):
    inside = []

    class Look(Middleware):
        name = "look"

        async def wrap_node_call(self, call, call_next):
            try:
                return await call_next(call)
            except Exception as error:
                if call.kind == "node":
                    inside.append("".join(traceback.format_exception_only(error)) + repr(error))
                raise

    builder = StateGraph(MessagesState)
    builder.add_node("work", node)
    builder.add_edge(START, "work")
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "checkpoints.db")) as saver:
        graph = chainops.instrument(builder.compile(checkpointer=saver), Pipeline([Look(), Pii()]))
        config = {"configurable": {"thread_id": "t1"}}
        with pytest.raises(Exception) as caught:
            await graph.ainvoke({"messages": [HumanMessage("Do it")]}, config)
        held = [file.name for file in tmp_path.iterdir() if b"leak@b.io" in file.read_bytes()]
    assert held == []
    assert "<EMAIL_1>" in inside[0]
    assert "leak@b.io" not in inside[0]
    assert "leak@b.io" in "".join(traceback.format_exception(caught.value))
    assert type(caught.value).__name__ in ("ValueError", "Said", "ValidationError", "ExceptionGroup")


async def test_an_error_that_says_nothing_personal_is_the_same_object():
    error = ValueError("it failed")

    async def fail(state):
        raise error

    builder = StateGraph(MessagesState)
    builder.add_node("work", fail)
    builder.add_edge(START, "work")
    with pytest.raises(ValueError, match="it failed") as caught:
        await chainops.instrument(builder.compile(), Pipeline([Pii()])).ainvoke({"messages": [HumanMessage("Do it")]})
    assert caught.value is error


async def test_an_error_whose_class_can_be_kept_is_still_caught_by_it():
    seen = []

    class Look(Middleware):
        name = "look"

        async def wrap_node_call(self, call, call_next):
            try:
                return await call_next(call)
            except Said as error:
                seen.append(error.who)
                raise

    builder = StateGraph(MessagesState)
    builder.add_node("work", own)
    builder.add_edge(START, "work")
    with pytest.raises(Said, match="leak"):
        await chainops.instrument(builder.compile(), Pipeline([Look(), Pii()])).ainvoke(
            {"messages": [HumanMessage("x")]}
        )
    assert seen
