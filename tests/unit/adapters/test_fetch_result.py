"""A result that was left out is read again from the state of the graph."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from chainops import Pipeline, instrument
from chainops.adapters.fetch_result import fetch_result
from chainops.middleware.compress import Compress
from chainops.testing import ScriptedModel


async def test_a_model_reads_a_cleared_result_again() -> None:
    """The model sees a line in the place of the result, asks, and gets the whole result from the state."""
    long = " ".join(f"value-{i}" for i in range(300))
    messages: list[Any] = [HumanMessage("Look everything up.")]
    for i in range(4):
        messages.append(AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": f"c{i}"}]))
        messages.append(ToolMessage(f"result {i}: {long}", tool_call_id=f"c{i}"))
    again = AIMessage("", tool_calls=[{"name": "fetch_result", "args": {"call_id": "c0"}, "id": "f"}])
    model = ScriptedModel([again])
    bound = model.bind_tools([fetch_result])

    async def ask(state: MessagesState) -> Any:
        return {"messages": [await bound.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_node("tools", ToolNode([fetch_result]))
    builder.add_edge(START, "ask")
    builder.add_edge("ask", "tools")
    graph = instrument(builder.compile(), Pipeline([Compress(windows={"*": 4000}, keep_results=1, step=0.01)]))
    state = await graph.ainvoke({"messages": messages})
    seen = [m.text for m in model.calls[0] if isinstance(m, ToolMessage)]
    assert seen[0].startswith("[result left out: look") and 'fetch_result("c0")' in seen[0]
    assert state["messages"][-1].text == f"result 0: {long}"


def test_an_unknown_id_is_answered_with_those_that_there_are() -> None:
    state = {"messages": [ToolMessage("x", tool_call_id="c1")]}
    assert "Known: c1" in fetch_result.invoke({"call_id": "c9", "state": state})
