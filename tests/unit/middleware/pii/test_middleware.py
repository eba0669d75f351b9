import asyncio
import json
import sqlite3

import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt

import chainops
from chainops.errors import SetupError, StoreError
from chainops.middleware.pii import Pii
from chainops.middleware.trace import Trace
from chainops.pipeline import Middleware, Pipeline
from chainops.store.vault import Keys, Vault
from chainops.testing import MiddlewareConformance, ScriptedModel


class TestInMemory(MiddlewareConformance):
    def make(self) -> Middleware:
        return Pii()


class TestWithAVault(MiddlewareConformance):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path):
        self.path = tmp_path / "vault.db"

    def make(self) -> Middleware:
        return Pii(self.path, key="ab" * 32)


KEY = "ab" * 32
LOG = "User: John Doe, email john@example.com"


def thread(name="t1", **metadata):
    return {"configurable": {"thread_id": name}, "metadata": metadata}


def chat(model, pipeline, **compile_options):
    """A graph of one node that asks ``model``."""

    async def answer(state):
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return chainops.instrument(builder.compile(**compile_options), Pipeline(pipeline))


def asked(text):
    return {"messages": [HumanMessage(text, id="h1")]}


def echo(messages):
    return f"You said: {messages[-1].text}"


async def test_the_model_gets_placeholders_and_the_caller_values():
    model = ScriptedModel([echo])
    state = await chat(model, [Pii()]).ainvoke(asked(LOG))
    assert model.calls[0][0].text == "User: <PERSON_1>, email <EMAIL_1>"
    assert state["messages"][-1].text == f"You said: {LOG}"
    assert state["messages"][0].text == LOG


async def test_the_log_of_the_seed_is_anonymous_in_every_line():
    seen = []

    def bot(messages):
        seen.append(messages[-1].text)
        return "Hi John! Based on your location in Bangalore..."

    await chat(ScriptedModel([bot, bot]), [Pii()], checkpointer=InMemorySaver()).ainvoke(asked(LOG), thread())
    pii = Pii()
    graph = chat(ScriptedModel([bot]), [pii], checkpointer=InMemorySaver())
    await graph.ainvoke(asked(LOG), thread())
    kept = [message.text for message in (await graph.aget_state(thread())).values["messages"]]
    assert kept == [
        "User: <PERSON_1>, email <EMAIL_1>",
        "Hi <PERSON_2>! Based on your location in <LOCATION_1>...",
    ]


async def test_an_aadhaar_number_in_a_chat_is_logged_nowhere(tmp_path):
    number = "2345 6789 0124"
    pii = Pii(tmp_path / "vault.db", key=KEY)
    trace = Trace(tmp_path / "trace.db", mask=pii.scrubber())
    graph = chat(ScriptedModel([echo]), [trace, pii])
    state = await graph.ainvoke(asked(f"My Aadhaar is {number}."), thread())
    assert number in state["messages"][-1].text
    trace.close()
    pii.close()
    for file in tmp_path.iterdir():
        for form in (number, number.replace(" ", "")):
            assert form.encode() not in file.read_bytes(), file


async def test_placeholders_are_stable_in_a_thread_and_equal_in_no_other_way():
    model = ScriptedModel([echo], repeat=True)
    graph = chat(model, [Pii()])
    await graph.ainvoke(asked("a@b.io and c@d.io, a@b.io"), thread())
    await graph.ainvoke(asked("c@d.io then e@f.io"), thread())
    await graph.ainvoke(asked("c@d.io"), thread("t2"))
    assert [call[-1].text for call in model.calls] == [
        "<EMAIL_1> and <EMAIL_2>, <EMAIL_1>",
        "<EMAIL_2> then <EMAIL_3>",
        "<EMAIL_1>",
    ]


async def test_values_are_restored_for_their_own_thread_only():
    graph = chat(ScriptedModel(["Noted.", "It is <EMAIL_1>.", "It is <EMAIL_1>."]), [Pii()])
    await graph.ainvoke(asked("I am a@b.io"), thread("t1"))
    other = await graph.ainvoke(asked("Who am I?"), thread("t2"))
    own = await graph.ainvoke(asked("Who am I?"), thread("t1"))
    assert other["messages"][-1].text == "It is <EMAIL_1>."
    assert own["messages"][-1].text == "It is a@b.io."


async def test_the_same_thread_of_another_tenant_is_another_thread():
    graph = chat(ScriptedModel(["Noted.", "It is <EMAIL_1>."]), [Pii()])
    await graph.ainvoke(asked("I am a@b.io"), thread("t1", tenant="one"))
    other = await graph.ainvoke(asked("Who am I?"), thread("t1", tenant="two"))
    assert other["messages"][-1].text == "It is <EMAIL_1>."


@pytest.mark.parametrize("mode", ["messages", ["messages", "values", "updates"]])
async def test_streams_leave_restored_in_any_mode(mode):
    graph = chat(ScriptedModel([echo]), [Pii()])
    chunks = [chunk async for chunk in graph.astream(asked(LOG), thread(), stream_mode=mode)]
    messages = [
        c[1] if isinstance(mode, list) else c for c in chunks if not isinstance(mode, list) or c[0] == "messages"
    ]
    assert "".join(message.text for message, _ in messages) == f"You said: {LOG}"
    assert "PERSON_1" not in str(chunks)


async def test_a_placeholder_in_pieces_leaves_as_its_value():
    class Pieces(ScriptedModel):
        async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
            for char in "Mail <EMAIL_1>, or <EMAIL_2>.":
                yield ChatGenerationChunk(message=AIMessageChunk(content=char))

    graph = chat(Pieces(), [Pii()])
    parts = [m.text async for m, _ in graph.astream(asked("I am a@b.io"), thread(), stream_mode="messages")]
    assert "".join(parts) == "Mail a@b.io, or <EMAIL_2>."
    assert not any("EMAIL_1" in part for part in parts)


async def test_what_a_model_brings_up_is_kept_out_of_the_state_and_given_to_the_caller():
    graph = chat(ScriptedModel(["Ask help@shop.example."]), [Pii()], checkpointer=InMemorySaver())
    parts = [m.text async for m, _ in graph.astream(asked("Whom?"), thread(), stream_mode="messages")]
    assert "".join(parts) == "Ask help@shop.example."
    assert (await graph.aget_state(thread())).values["messages"][-1].text == "Ask <EMAIL_1>."


async def test_secrets_are_removed_for_good():
    model = ScriptedModel([echo])
    state = await chat(model, [Pii()]).ainvoke(asked("My password is hunter2! and again hunter2!"))
    assert state["messages"][-1].text == "You said: My password is <SECRET> and again <SECRET>"


async def test_placeholders_stay_where_nothing_is_restored():
    graph = chat(ScriptedModel([echo]), [Pii(restore=False)])
    assert (await graph.ainvoke(asked(LOG)))["messages"][-1].text == "You said: User: <PERSON_1>, email <EMAIL_1>"


async def test_tools_get_values_only_where_they_may():
    got = []

    @tool
    def send_mail(to: str) -> str:
        """Send."""
        got.append(to)
        return f"sent to {to}"

    @tool
    def look_up(who: str) -> str:
        """Look up."""
        got.append(who)
        return f"{who} lives in Bangalore, phone +49 30 901820"

    async def work(state):
        address = state["messages"][-1].text
        sent, found = await send_mail.ainvoke({"to": address}), await look_up.ainvoke({"who": address})
        return {"messages": [("ai", sent), ("ai", found)]}

    builder = StateGraph(MessagesState)
    builder.add_node("work", work)
    builder.add_edge(START, "work")
    graph = chainops.instrument(builder.compile(checkpointer=InMemorySaver()), Pipeline([Pii(plain_tools=["send_*"])]))
    state = await graph.ainvoke(asked("a@b.io"), thread())
    assert got == ["a@b.io", "<EMAIL_1>"]
    assert state["messages"][-1].text == "a@b.io lives in Bangalore, phone +49 30 901820"
    kept = (await graph.aget_state(thread())).values["messages"]
    assert [m.text for m in kept] == [
        "<EMAIL_1>",
        "sent to <EMAIL_1>",
        "<EMAIL_1> lives in <LOCATION_1>, phone <PHONE_1>",
    ]


async def test_a_node_may_be_given_values():
    got = []

    async def send(state):
        got.append(state["messages"][-1].text)
        return {"messages": [("ai", "sent to a@b.io")]}

    builder = StateGraph(MessagesState)
    builder.add_node("send", send, metadata={"chainops": {"pii": {"plain": True}}})
    builder.add_edge(START, "send")
    graph = chainops.instrument(builder.compile(checkpointer=InMemorySaver()), Pipeline([Pii()]))
    await graph.ainvoke(asked("a@b.io"), thread())
    assert got == ["a@b.io"]
    assert (await graph.aget_state(thread())).values["messages"][-1].text == "sent to <EMAIL_1>"


async def test_an_interrupt_asks_in_values_and_the_answer_is_searched():
    async def ask(state):
        return {"messages": [("ai", "you are " + interrupt(f"Is {state['messages'][0].text} right?"))]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    graph = chainops.instrument(builder.compile(checkpointer=InMemorySaver()), Pipeline([Pii()]))
    paused = await graph.ainvoke(asked("a@b.io"), thread())
    assert paused["__interrupt__"][0].value == "Is a@b.io right?"
    state = await graph.ainvoke(Command(resume="c@d.io"), thread())
    assert state["messages"][-1].text == "you are c@d.io"
    assert (await graph.aget_state(thread())).values["messages"][-1].text == "you are <EMAIL_2>"


async def test_tool_calls_of_a_model_are_searched_and_restored():
    call = AIMessage("", tool_calls=[{"name": "mail", "args": {"to": "c@d.io", "cc": "<EMAIL_1>"}, "id": "c1"}])
    graph = chat(ScriptedModel([call]), [Pii()], checkpointer=InMemorySaver())
    state = await graph.ainvoke(asked("I am a@b.io"), thread())
    assert state["messages"][-1].tool_calls[0]["args"] == {"to": "c@d.io", "cc": "a@b.io"}
    kept = (await graph.aget_state(thread())).values["messages"][-1]
    assert kept.tool_calls[0]["args"] == {"to": "<EMAIL_2>", "cc": "<EMAIL_1>"}


def test_a_model_alone_is_a_way_in_and_out_too():
    model = ScriptedModel([echo, echo])
    wrapped = chainops.wrap(model, Pipeline([Pii()]))
    assert wrapped.invoke(LOG).text == f"You said: {LOG}"
    assert "".join(chunk.text for chunk in wrapped.stream(LOG)) == f"You said: {LOG}"
    assert model.calls[1][0].text == "User: <PERSON_1>, email <EMAIL_1>"


async def test_documents_of_a_retriever_are_searched():
    class Files(BaseRetriever):
        def _get_relevant_documents(self, query, *, run_manager):
            return [Document(page_content="Write to a@b.io", metadata={"owner": "c@d.io"})]

    async def look(state):
        (found,) = await Files().ainvoke("who")
        return {"messages": [("ai", f"{found.page_content} {found.metadata['owner']}")]}

    builder = StateGraph(MessagesState)
    builder.add_node("look", look)
    builder.add_edge(START, "look")
    seen = []

    class Look(Middleware):
        name = "look"

        async def wrap_tool_call(self, call, call_next):
            result = await call_next(call)
            seen.append(result[0].page_content)
            return result

    await chainops.instrument(builder.compile(), Pipeline([Look(), Pii()])).ainvoke(asked("?"))
    assert seen == ["Write to <EMAIL_2>"]  # the metadata comes first


async def test_what_was_found_is_counted_never_shown(tmp_path):
    pii = Pii()
    trace = Trace(tmp_path / "t.db", mask=pii.scrubber())
    await chat(ScriptedModel([echo]), [trace, pii]).ainvoke(asked(LOG))
    trace.close()
    with sqlite3.connect(tmp_path / "t.db") as db:
        notes = [json.loads(row[0]) for row in db.execute("SELECT attributes FROM span WHERE attributes IS NOT NULL")]
    assert {"found": {"PERSON": 1, "EMAIL": 1}} in [note.get("pii") for note in notes]


async def test_placeholders_pass_a_second_time_unchanged():
    model = ScriptedModel([echo], repeat=True)
    graph = chat(model, [Pii()], checkpointer=InMemorySaver())
    await graph.ainvoke(asked(LOG), thread())
    await graph.ainvoke({"messages": [HumanMessage("again")]}, thread())
    assert model.calls[1][0].text == "User: <PERSON_1>, email <EMAIL_1>"
    assert model.calls[1][1].text == "You said: User: <PERSON_1>, email <EMAIL_1>"


async def test_what_a_conditional_edge_sends_is_searched_and_names_of_nodes_stay():
    got = []

    def choose(state):
        return [Send("work", {"messages": [HumanMessage("for c@d.io")]}), "Bangalore"]

    async def work(state):
        got.append(state["messages"][-1].text)
        return {}

    async def there(state):
        got.append("there")
        return {}

    builder = StateGraph(MessagesState)
    builder.add_node("start", lambda state: {})
    builder.add_node("work", work)
    builder.add_node("Bangalore", there)
    builder.add_edge(START, "start")
    builder.add_conditional_edges("start", choose, ["work", "Bangalore"])
    graph = chainops.instrument(builder.compile(checkpointer=InMemorySaver()), Pipeline([Pii()]))
    await graph.ainvoke(asked("I live in Bangalore"), thread())
    assert sorted(got) == ["for <EMAIL_1>", "there"]


async def test_a_history_is_read_and_a_state_is_written_past_the_nodes(tmp_path):
    pii = Pii(tmp_path / "vault.db", key=KEY)
    graph = chat(ScriptedModel([echo], repeat=True), [pii], checkpointer=InMemorySaver())
    await graph.ainvoke(asked("I am a@b.io"), thread(user="u1", tenant="one"))
    said = await pii.conceal({"messages": [HumanMessage("and c@d.io, a@b.io")]}, "t1", user="u1", tenant="one")
    await graph.aupdate_state(thread(user="u1", tenant="one"), said)
    kept = (await graph.aget_state(thread())).values
    assert [m.text for m in kept["messages"]][-1] == "and <EMAIL_2>, <EMAIL_1>"
    shown = await pii.reveal(kept, "t1", tenant="one")
    assert [m.text for m in shown["messages"]] == ["I am a@b.io", "You said: I am a@b.io", "and c@d.io, a@b.io"]
    assert await pii.reveal("<EMAIL_1>", "t1") == "<EMAIL_1>"  # the same thread of another tenant is another
    assert await asyncio.to_thread(pii._vault.erase, "u1", "one") == 2
    assert await pii.reveal("<EMAIL_1>", "t1", tenant="one") == "<EMAIL_1>"
    pii.close()


async def test_a_vault_that_fails_stops_the_call(tmp_path):
    model = ScriptedModel([echo])
    graph = chat(model, [Pii(tmp_path / "no" / "vault.db", key=KEY)])
    with pytest.raises(StoreError) as error:
        await graph.ainvoke(asked(LOG), thread())
    assert error.value.code == "store.vault"
    assert model.calls == []


async def test_another_process_goes_on_with_the_placeholders_of_a_thread(tmp_path):
    for _ in range(2):  # nothing is left in memory between the two
        model = ScriptedModel([echo])
        pii = Pii(tmp_path / "vault.db", key=KEY)
        state = await chat(model, [pii]).ainvoke(asked("c@d.io" if _ else "a@b.io c@d.io"), thread())
        pii.close()
    assert model.calls[0][-1].text == "<EMAIL_2>"
    assert state["messages"][-1].text == "You said: c@d.io"


def test_a_vault_needs_a_key():
    with pytest.raises(SetupError) as error:
        Pii("vault.db")
    assert error.value.code == "setup.pii_key"


@pytest.mark.parametrize("options", [{"kinds": ["EMIAL"]}, {"kinds": []}, {"ttl_s": 0}, {"threshold": 2}])
def test_impossible_options_are_refused(options):
    with pytest.raises(SetupError) as error:
        Pii(**options)
    assert error.value.code == "setup.pii"


async def test_many_threads_at_once_do_not_mix(tmp_path):
    pii = Pii(tmp_path / "vault.db", key=KEY)
    graph = chat(ScriptedModel([echo], repeat=True), [pii])
    states = await asyncio.gather(*(graph.ainvoke(asked(f"I am u{i}@b.io"), thread(f"t{i}")) for i in range(30)))
    assert [s["messages"][-1].text for s in states] == [f"You said: I am u{i}@b.io" for i in range(30)]
    pii.close()


async def test_an_answer_is_searched_whichever_model_a_router_inside_chooses():
    other = ScriptedModel(["Ask help@shop.example."])

    class Router(Middleware):
        name = "route"

        async def wrap_model_call(self, call, call_next):
            return await call_next(call.replace(engine=other))

    graph = chat(ScriptedModel([]), [Pii(), Router()], checkpointer=InMemorySaver())
    state = await graph.ainvoke(asked("Whom?"), thread())
    assert state["messages"][-1].text == "Ask help@shop.example."
    assert (await graph.aget_state(thread())).values["messages"][-1].text == "Ask <EMAIL_1>."


async def test_an_erasure_reaches_applications_that_run(tmp_path):
    model = ScriptedModel([echo], repeat=True)
    pii = Pii(tmp_path / "vault.db", key=KEY)
    graph = chat(model, [pii])
    await graph.ainvoke(asked("a@b.io"), thread(user="u1"))
    other = Vault(tmp_path / "vault.db", Keys(KEY))
    assert other.erase("u1") == 1
    other.close()
    state = await graph.ainvoke(asked("<EMAIL_1> and a@b.io"), thread(user="u1"))
    assert model.calls[-1][-1].text == "<EMAIL_1> and <EMAIL_2>"
    assert state["messages"][-1].text == "You said: <EMAIL_1> and a@b.io"
    pii.close()


def test_synchronous_runs_are_searched_too(tmp_path):
    model = ScriptedModel([echo])

    def answer(state):
        return {"messages": [model.invoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    pii = Pii(tmp_path / "vault.db", key=KEY)
    graph = chainops.instrument(builder.compile(checkpointer=InMemorySaver()), Pipeline([pii]))
    state = graph.invoke(asked(LOG), thread())
    assert model.calls[0][0].text == "User: <PERSON_1>, email <EMAIL_1>"
    assert state["messages"][-1].text == f"You said: {LOG}"
    assert graph.get_state(thread()).values["messages"][-1].text == "You said: User: <PERSON_1>, email <EMAIL_1>"
    pii.close()


async def test_agents_with_tools_see_placeholders_and_the_caller_values():
    from langchain.agents import create_agent

    got = []

    @tool
    def send_mail(to: str) -> str:
        """Send a mail."""
        got.append(to)
        return f"sent to {to}"

    model = ScriptedModel(
        [
            AIMessage("", tool_calls=[{"name": "send_mail", "args": {"to": "<EMAIL_1>"}, "id": "c1"}]),
            lambda messages: f"Done: {messages[-1].text}",
        ]
    )
    agent = create_agent(model, [send_mail])
    graph = chainops.instrument(agent, Pipeline([Pii(plain_tools=["send_mail"])]))
    state = await graph.ainvoke(asked("Mail me at a@b.io"), thread())
    assert got == ["a@b.io"]
    assert model.calls[1][-1].text == "sent to <EMAIL_1>"
    assert state["messages"][-1].text == "Done: sent to a@b.io"
