"""Whether it pays, what stays cached, and results that are made shorter as they come in."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from chainops import Pipeline, instrument
from chainops.adapters.fetch_result import fetch_result
from chainops.middleware.compress import Compress
from chainops.middleware.compress.pays import Speeds
from chainops.testing import ScriptedModel

from .test_middleware import Desk, talk


def answer(prompt: int, ms: float, cached: int = 0) -> AIMessage:
    """As a model with timings answers."""
    usage: Any = {"input_tokens": prompt, "output_tokens": 1, "total_tokens": prompt + 1}
    usage["input_token_details"] = {"cache_read": cached}
    return AIMessage("ok", usage_metadata=usage, response_metadata={"timings": {"prefill_ms": ms}})


def long_talk() -> list[BaseMessage]:
    fact = "The parcel 4183 was handed to the carrier on Monday. "
    filler = "".join(f"Point {i} of the list has not been looked at by anybody yet. " for i in range(80))
    return [HumanMessage(filler + fact), AIMessage("Noted."), HumanMessage("When was parcel 4183 handed over?")]


async def test_a_stage_that_would_take_longer_than_it_saves_is_skipped_and_says_so() -> None:
    fast = ScriptedModel([answer(1000, 0.01)], repeat=True)  # reads a hundred million tokens per second
    desk, messages = Desk(model=fast, windows={"*": 100_000}, target_tokens=300), long_talk()
    assert len(await desk.ask(messages)) == 3 and desk.notes["tokens_after"] <= 400, "nothing is measured yet"
    assert await desk.ask(messages) == messages
    assert desk.notes["stages"] == [] and "tokens/s" in desk.notes["skipped"]["extract"]


async def test_for_a_slow_model_it_pays() -> None:
    slow = ScriptedModel([answer(1000, 10_000)], repeat=True)
    desk, messages = Desk(model=slow, windows={"*": 100_000}, target_tokens=300), long_talk()
    for _ in range(2):
        sent = await desk.ask(messages)
        assert desk.notes["tokens_after"] < 400 and "4183" in sent[0].text


async def test_what_must_be_shorter_is_made_shorter_whatever_it_takes() -> None:
    fast = ScriptedModel([answer(1000, 0.01)], repeat=True)
    desk, messages = Desk(model=fast, windows={"*": 700}), long_talk()
    for _ in range(2):
        assert "4183" in (await desk.ask(messages))[0].text


def test_what_is_cached_is_not_saved() -> None:
    speeds = Speeds()
    speeds.saw_answer("m", {"timings": {"prefill_ms": 1000}}, {"input_tokens": 1000})
    assert speeds.prefill("m") == 1000
    assert speeds.objection("extract", 4000, 1000, 0, "m") == ""
    assert "3900 tokens are cached" in speeds.objection("extract", 4000, 1000, 3900, "m")
    assert speeds.objection("extract", 4000, 1000, 0, "another") == ""
    speeds.saw_answer("m", {"timings": {"prefill_ms": 1}}, {"input_tokens": 30})
    speeds.saw_answer("m", {}, None)
    assert speeds.prefill("m") == 1000, "too little to measure"


async def test_the_span_says_how_much_of_the_prompt_stays_cached() -> None:
    desk = Desk("trim", windows={"*": 2000}, step=0.5)
    messages = talk(30, 30)
    await desk.ask(messages)
    assert desk.notes["prefix_kept_tokens"] == 0
    sent = await desk.ask([*messages, AIMessage("fine"), HumanMessage("more?")])
    assert 0 < desk.notes["prefix_kept_tokens"] < desk.notes["tokens_after"]
    assert len(sent) > 3


LONG = "".join(f"Row {i} is about the stock of item {i}. " for i in range(300))


@tool
def look(what: str) -> str:
    """Looks something up."""
    return LONG + "The code of the gate is 7719. " + LONG


def graph_with(model: ScriptedModel, layer: Compress) -> Any:
    bound = model.bind_tools([look])

    async def ask(state: MessagesState) -> Any:
        return {"messages": [await bound.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_node("tools", ToolNode([look, fetch_result]))
    builder.add_edge(START, "ask")
    builder.add_edge("ask", "tools")
    return instrument(builder.compile(), Pipeline([layer]))


async def test_a_long_result_is_made_shorter_once_and_can_be_read_whole() -> None:
    model = ScriptedModel([AIMessage("", tool_calls=[{"name": "look", "args": {"what": "gate"}, "id": "c"}])])
    graph = graph_with(model, Compress(ingest_tokens=100))
    state = await graph.ainvoke({"messages": [HumanMessage("What is the code of the gate?")]})
    result = state["messages"][-1]
    assert isinstance(result, ToolMessage) and "7719" in result.text and len(result.text) < 600
    whole = fetch_result.invoke({"call_id": "c", "state": state})
    assert whole.startswith(LONG) and "7719" in whole


async def test_without_the_setting_results_stay_as_they_are() -> None:
    model = ScriptedModel([AIMessage("", tool_calls=[{"name": "look", "args": {"what": "gate"}, "id": "c"}])])
    state = await graph_with(model, Compress()).ainvoke({"messages": [HumanMessage("What is the code?")]})
    assert state["messages"][-1].text.startswith(LONG)


async def test_documents_are_made_shorter_and_keep_their_metadata() -> None:
    class Shelf(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> Any:
            return [Document(LONG + "The gate opens at nine.", metadata={"source": "a"}), Document("short")]

    found: list[Any] = []

    def node(state: MessagesState) -> Any:
        found.extend(Shelf().invoke("When does the gate open?"))
        return {}

    builder = StateGraph(MessagesState)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    await instrument(builder.compile(), Pipeline([Compress(ingest_tokens=60)])).ainvoke({"messages": []})
    assert "opens at nine" in found[0].page_content and len(found[0].page_content) < 400
    assert found[0].metadata == {"source": "a"} and found[1].page_content == "short"
