"""What is kept of threads in memory, and for how long."""

from __future__ import annotations

import asyncio
import threading

from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGenerationChunk
from langgraph.graph import START, MessagesState, StateGraph

import chainops
from chainops.calls import RunContext
from chainops.middleware.pii import Pii, Scanner
from chainops.middleware.pii.thread import HELD, WARM, Threads
from chainops.pipeline import Pipeline
from chainops.store.vault import Keys, Vault
from chainops.testing import ScriptedModel

KEY = "ab" * 32


def run(name, **metadata):
    return RunContext(run_id="r", thread_id=name, metadata=metadata)


def threads(vault=None, **options):
    return Threads(Scanner(), vault, frozenset(), "tenant", "user", **options)


def test_a_thread_that_nobody_used_for_long_is_forgotten_without_a_vault_too():
    now = [0.0]
    known = threads(ttl_s=100, clock=lambda: now[0])
    known.refresh(run("t1")).placeholder("EMAIL", "a@b.io")
    now[0] = 60
    assert known.refresh(run("t1")).value("<EMAIL_1>") == "a@b.io"
    now[0] = 150
    assert known.refresh(run("t1")).value("<EMAIL_1>") == "a@b.io"
    now[0] = 251
    assert known.refresh(run("t1")).value("<EMAIL_1>") is None


def test_an_expired_value_is_not_restored_from_memory(tmp_path):
    now = [1000.0]
    vault = Vault(tmp_path / "vault.db", Keys(KEY), ttl_s=100, clock=lambda: now[0])
    known = threads(vault, ttl_s=100, clock=lambda: now[0])
    known.refresh(run("t1")).placeholder("EMAIL", "a@b.io")
    now[0] += 101
    thread = known.refresh(run("t1"))
    assert thread.value("<EMAIL_1>") is None
    assert thread.placeholder("EMAIL", "a@b.io") == "<EMAIL_2>"
    vault.close()


def test_texts_of_few_threads_are_remembered_and_not_without_end():
    known = threads()
    for i in range(WARM + 20):
        known.refresh(run(f"t{i}")).clean("Hello a@b.io", "")
    held = [name for name, thread in known._threads.items() if thread._scans]
    assert len(held) == WARM
    thread = known.refresh(run("t"))
    for i in range(30):
        thread.clean(f"{i} " + "x" * 30_000, "")
    assert sum(len(text) for text, _ in thread._scans) <= HELD + 30_002


def test_the_subject_of_erasure_is_the_user_of_its_tenant(tmp_path):
    vault = Vault(tmp_path / "vault.db", Keys(KEY))
    known = threads(vault)
    known.refresh(run("t1", user="u", tenant="one")).placeholder("EMAIL", "a@b.io")
    known.refresh(run("t1", user="u", tenant="two")).placeholder("EMAIL", "a@b.io")
    assert vault.erase("u", "one") == 1
    assert known.refresh(run("t1", user="u", tenant="one")).value("<EMAIL_1>") is None
    assert known.refresh(run("t1", user="u", tenant="two")).value("<EMAIL_1>") == "a@b.io"
    vault.close()


class Pieces(ScriptedModel):
    """Brings up an address of its own, letter by letter."""

    async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
        for char in "Ask help@shop.example or +49 30 901820 at once, please.":
            yield ChatGenerationChunk(message=AIMessageChunk(content=char))


async def test_a_stream_waits_for_the_vault_in_a_thread_not_on_the_loop(tmp_path, monkeypatch):
    where = []
    add = Vault.add

    def noted(self, *args):
        where.append(threading.current_thread() is threading.main_thread())
        return add(self, *args)

    monkeypatch.setattr(Vault, "add", noted)
    model = Pieces(["Ask help@shop.example or +49 30 901820 at once, please."])

    async def answer(state):
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    pii = Pii(tmp_path / "vault.db", key=KEY)
    graph = chainops.instrument(builder.compile(), Pipeline([pii]))
    config = {"configurable": {"thread_id": "t1"}}
    asked = {"messages": [HumanMessage("Whom?")]}
    parts = [m.text async for m, _ in graph.astream(asked, config, stream_mode="messages")]
    assert "".join(parts) == "Ask help@shop.example or +49 30 901820 at once, please."
    state = await graph.ainvoke(asked, {"configurable": {"thread_id": "t2"}})
    assert state["messages"][-1].text == "Ask help@shop.example or +49 30 901820 at once, please."
    await asyncio.to_thread(pii.close)
    assert where == [False] * 4
