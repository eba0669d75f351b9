"""Old turns move into an index, and come back when the question is about them."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.store.memory import InMemoryStore

from chainops import App, instrument
from chainops.calls import RunContext
from chainops.memory import Turns
from chainops.middleware.compress.overflow import ContextOverflow
from chainops.middleware.compress.recall import HEAD
from chainops.middleware.compress.stages import STRATEGIES
from chainops.testing import ScriptedModel

from .histories import check_pairs, histories
from .test_middleware import COUNTS, Desk

RUN = RunContext(run_id="r", thread_id="t1", metadata={"user": "ada"})
FACT = "My parcel 4183 went to the neighbour in flat nine."


def talk(question: str) -> list[BaseMessage]:
    found: list[BaseMessage] = [SystemMessage("You run the desk of a shop."), HumanMessage(FACT), AIMessage("Noted.")]
    for i in range(30):
        found += [HumanMessage(f"remark {i} " + "word " * 40), AIMessage(f"answer {i} " + "word " * 40)]
    return [*found, HumanMessage(question)]


async def test_a_turn_that_left_the_prompt_comes_back_when_the_question_is_about_it() -> None:
    store = InMemoryStore()
    desk = Desk("trim", windows={"*": 1500}, turns=Turns(store))
    sent = await desk.ask(talk("Which flat has parcel 4183?"), run=RUN)
    assert sent[-2].text == f"{HEAD}\n\nUser: {FACT}\nAssistant: Noted."
    assert COUNTS.messages(sent) <= 1500 - desk.notes["reserved_answer"]
    other = await desk.ask(talk("What is the weather?"), run=RUN)
    assert HEAD not in other[-2].text
    assert other[:-1] == [*sent[:-2]], "what is recalled stands at the end: the beginning stays cached"


async def test_it_is_found_after_the_state_has_lost_it_too() -> None:
    store = InMemoryStore()
    await Desk("trim", windows={"*": 1500}, turns=Turns(store)).ask(talk("Well?"), run=RUN)
    late = [m for m in talk("Which flat has parcel 4183?") if m.text != FACT]
    sent = await Desk("trim", windows={"*": 1500}, turns=Turns(store)).ask(late, run=RUN)
    assert FACT in sent[-2].text


async def test_other_threads_and_users_do_not_see_it() -> None:
    store = InMemoryStore()
    await Desk("trim", windows={"*": 1500}, turns=Turns(store)).ask(talk("Well?"), run=RUN)
    late = [m for m in talk("Which flat has parcel 4183?") if m.text != FACT]
    for run in (
        RunContext(run_id="r", thread_id="t2", metadata={"user": "ada"}),
        RunContext(run_id="r", thread_id="t1", metadata={"user": "bob"}),
        RunContext(run_id="r"),
    ):
        sent = await Desk("trim", windows={"*": 1500}, turns=Turns(store)).ask(late, run=run)
        assert FACT not in sent[-2].text


async def test_the_last_five_messages_and_what_the_question_is_about() -> None:
    desk = Desk("last_n", turns=Turns(InMemoryStore()))
    sent = await desk.ask(talk("Which flat has parcel 4183?"), run=RUN)
    assert len(sent) == 7 and FACT in sent[-2].text and sent[1:5] == talk("")[-5:-1]


async def test_a_store_that_fails_does_not_break_the_call() -> None:
    class Broken(InMemoryStore):
        async def abatch(self, ops: Any) -> Any:
            raise OSError("disk gone")

    desk = Desk("trim", windows={"*": 1500}, turns=Turns(Broken()))
    sent = await desk.ask(talk("Which flat has parcel 4183?"), run=RUN)
    assert sent[-1].text == "Which flat has parcel 4183?"
    check_pairs(sent)


async def test_the_setting_recall_uses_the_store_of_the_graph() -> None:
    model = ScriptedModel(["ok"], repeat=True)

    async def ask(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    app = App(pipeline={"middleware": ["compress"]}, compress={"recall": True, "windows": {"*": 1500}})
    graph = instrument(builder.compile(checkpointer=InMemorySaver(), store=InMemoryStore()), app.pipeline)
    config: Any = {"configurable": {"thread_id": "t1"}}
    await graph.ainvoke({"messages": talk("Well?")}, config)
    await graph.ainvoke({"messages": [HumanMessage("Which flat has parcel 4183?")]}, config)
    assert FACT in model.calls[-1][-2].text


@settings(max_examples=40)
@given(data=st.data())
async def test_with_an_index_any_history_stays_whole(data: Any) -> None:
    messages = data.draw(histories())
    before, window = COUNTS.messages(messages), data.draw(st.integers(60, 900))
    strategy = data.draw(st.sampled_from(STRATEGIES))
    desk = Desk(strategy, windows={"*": window}, answer_reserve=10, last_n=3, turns=Turns(InMemoryStore()))
    try:
        sent = await desk.ask(messages, run=RUN)
    except ContextOverflow as error:
        assert error.limit < error.tokens <= before
        return
    assert COUNTS.messages(sent) <= min(before, window - 10)
    assert await desk.ask(messages, run=RUN) == sent, "the same every time"
    recalled = [m for m in sent if m.text.startswith(HEAD)]
    kept = [m for m in sent if m not in recalled]
    check_pairs(kept)
    order = [m.id for m in messages]
    places = [order.index(m.id) for m in kept]
    assert places == sorted(places) and len(recalled) <= 1
    if recalled:
        assert isinstance(sent[sent.index(recalled[0]) + 1], HumanMessage), "directly before the last question"
