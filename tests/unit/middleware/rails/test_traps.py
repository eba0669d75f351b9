"""Ways in which NeMo Guardrails and its glue let text pass, grow or hang (all measured): none of them is here.

Traps of a folder's configuration stand in ``test_nemo.py``; those of the dialog interpreter in ``test_dialog.py``.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from chainops import Pipeline, instrument
from chainops.middleware.rails import ALLOW, DenyList, PatternRail, Rail, RailBlocked, Rails, Subject
from chainops.testing import ScriptedModel, model_call

SECRET = "sk-abcdefgh12345678"
KEYS = {"key": r"sk-[a-z0-9]{16}"}
FOLDER = """
rails:
  config:
    regex_detection:
      input: {patterns: ["xyzzy"]}
      output: {patterns: ["sk-[a-z0-9]{16}"]}
  input: {flows: [regex check input]}
  output: {flows: [regex check output]}
"""


def graph_with(rails: Rails, model: Any, **options: Any) -> Any:
    async def answer(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return instrument(builder.compile(**options), Pipeline([rails]))


def nemo(tmp_path: Path) -> list[Rail]:
    pytest.importorskip("nemoguardrails", reason="needs nemoguardrails (the [rails] extra)")
    from chainops.middleware.rails.nemo import nemo_rails

    (tmp_path / "config.yml").write_text(FOLDER)
    return nemo_rails(tmp_path)


class Hears(AsyncCallbackHandler):
    """What any callback of the application would see."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def on_llm_new_token(self, token: str, **kwargs: Any) -> None:
        self.heard.append(token)

    async def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.heard += [generation.text for row in response.generations for generation in row]


@pytest.mark.parametrize("policy", ["redact", "block", "monitor"])
async def test_no_stream_mode_event_or_callback_sees_what_was_not_guarded(policy: Any) -> None:
    hears = Hears()
    seen: list[str] = []

    async def read(stream: Any) -> None:
        try:
            async for part in stream:
                seen.append(repr(part))
        except RailBlocked:
            assert policy == "block"

    def fresh() -> Any:
        model = ScriptedModel([f"The key is {SECRET}, keep it."], chunk=3)
        return graph_with(Rails([PatternRail("keys", KEYS, policy=policy)]), model)

    asked = {"messages": [HumanMessage("Which key?")]}
    modes = ["messages", "updates", "values", "debug", "custom", "tasks"]
    await read(fresh().astream(asked, {"callbacks": [hears]}, stream_mode=modes))
    await read(fresh().astream(asked, {"callbacks": [hears]}, stream_mode="messages", subgraphs=True))
    await read(fresh().astream_events(asked, {"callbacks": [hears]}, version="v2"))
    leaked = any(SECRET[:6] in part for part in [*seen, *hears.heard])
    assert seen and leaked is (policy == "monitor")


async def test_a_refused_answer_does_not_stay_in_the_state_beside_the_refusal() -> None:
    rails = Rails([PatternRail("keys", KEYS)], on_block="refuse", refusal="No.")
    model = ScriptedModel([AIMessage(f"It is {SECRET}", id="a1")])
    graph = graph_with(rails, model, checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    await graph.ainvoke({"messages": [HumanMessage("Which key?")]}, config)
    states = [s async for s in graph.aget_state_history(config)]
    assert [m.text for m in states[0].values["messages"]] == ["Which key?", "No."]
    assert states[0].values["messages"][-1].id == "a1" and SECRET not in repr(states)


async def test_a_question_before_the_last_one_is_judged_too(tmp_path: Path) -> None:
    graph = graph_with(Rails(nemo(tmp_path)), ScriptedModel(["fine"]))
    with pytest.raises(RailBlocked):
        await graph.ainvoke({"messages": [HumanMessage("xyzzy"), HumanMessage("Thank you.")]})


@pytest.mark.parametrize(
    "content", [[{"type": "text", "text": "xyzzy"}], ["xyzzy"], [{"type": "text", "text": "a"}, "xyzzy"]]
)
async def test_content_blocks_are_never_an_empty_text(tmp_path: Path, content: Any) -> None:
    run = Pipeline([Rails(nemo(tmp_path))]).around_model(ScriptedModel(["fine"]))
    with pytest.raises(RailBlocked):
        await run(model_call(messages=[HumanMessage(content)]))


async def test_a_synchronous_run_inside_a_running_loop_is_guarded(tmp_path: Path) -> None:
    graph = graph_of_sync_nodes(Rails(nemo(tmp_path)))
    with pytest.raises(RailBlocked):
        graph.invoke({"messages": [HumanMessage("xyzzy")]})
    assert graph.invoke({"messages": [HumanMessage("Hello")]})["messages"][-1].text == "fine"


def graph_of_sync_nodes(rails: Rails) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [AIMessage("fine")]})
    builder.add_edge(START, "answer")
    return instrument(builder.compile(), Pipeline([rails]))


def test_one_layer_serves_one_loop_after_the_other_and_many_threads(tmp_path: Path) -> None:
    rails = Rails(nemo(tmp_path))
    graph = graph_with(rails, ScriptedModel(["fine"] * 100))

    async def one(text: str) -> bool:
        async with asyncio.timeout(20):
            try:
                await graph.ainvoke({"messages": [HumanMessage(text)]})
            except RailBlocked:
                return True
            return False

    texts = ["Hello", "xyzzy", "Hi", "a xyzzy"]
    assert [asyncio.run(one(text)) for text in texts] == [False, True, False, True]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda t: asyncio.run(one(t)), texts * 4)) == [False, True, False, True] * 4


TENANT: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


class WhoAsks(Rail):
    """Remembers for whom it was asked."""

    waits = True
    local = False

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked: list[tuple[str, str]] = []

    async def check(self, subject: Subject) -> Any:
        await asyncio.sleep(0)
        self.asked.append((subject.text, TENANT.get()))
        return ALLOW


async def test_each_check_has_the_context_of_its_own_caller() -> None:
    first, second = WhoAsks("first"), WhoAsks("second")
    rails = Rails([first, second])

    async def ask(tenant: str) -> None:
        TENANT.set(tenant)
        await rails.judged(f"from {tenant}")

    await asyncio.gather(*(asyncio.create_task(ask(t)) for t in "abc"))
    assert sorted(first.asked) == sorted(second.asked) == [(f"from {t}", t) for t in "abc"]


class Waits(Rail):
    """Waits until it is cancelled."""

    waits = True

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.began, self.ended = asyncio.Event(), False

    async def check(self, subject: Subject) -> Any:
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True


@pytest.mark.parametrize("several", [False, True])
async def test_a_caller_who_gives_up_ends_the_checks_that_run_for_him(several: bool) -> None:
    rails = [Waits("one"), Waits("two")][: 1 + several]
    run = Pipeline([Rails(rails)]).around_model(ScriptedModel(["fine"]))
    task = asyncio.create_task(run(model_call("Hello")))
    await asyncio.gather(*(rail.began.wait() for rail in rails))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(rail.ended for rail in rails)


async def test_what_is_remembered_has_a_bound_and_holds_no_text(tmp_path: Path) -> None:
    rails = Rails(nemo(tmp_path), memory=50)
    marked = "a marked text " * 60
    for i in range(300):
        await rails.judged(f"{marked}{i}")
    known = rails._screen.judge._memory
    assert len(known) <= 50
    gc.collect()
    assert not any(marked in str(key) for key in known)


async def test_one_conversation_s_verdict_is_never_another_s(tmp_path: Path) -> None:
    """A cache that ignores who is asked would answer one caller under another's rules."""
    strict = Pipeline([Rails([DenyList("words", ["dawn"])])]).around_model(ScriptedModel(["fine"]))
    lax = Pipeline([Rails([DenyList("words", ["dusk"])])]).around_model(ScriptedModel(["fine"]))
    assert (await lax(model_call("at dawn"))).text == "fine"
    with pytest.raises(RailBlocked):
        await strict(model_call("at dawn"))


async def test_the_short_way_of_a_pattern_flow_says_what_nemo_says(tmp_path: Path) -> None:
    rails = nemo(tmp_path)
    texts = ["", "xyzzy", "a xyzz y", f"is {SECRET}", SECRET[:-1], "XYZZY", "ordinary words"]
    for rail in rails:
        assert rail.clean is not None  # type: ignore[attr-defined]
        for text in texts:
            subject = Subject(text, "output" if "output" in rail.name else "input")
            short = (await rail.check(subject)).decision
            rail.clean, kept = None, rail.clean  # type: ignore[attr-defined]
            assert short == (await rail.check(subject)).decision
            rail.clean = kept  # type: ignore[attr-defined]


def test_no_thread_or_server_is_left_behind(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    rails = Rails(nemo(tmp_path))
    assert asyncio.run(rails.judged("xyzzy")).blocked
    assert not {t for t in threading.enumerate() if t not in before and not t.name.startswith("asyncio")}
