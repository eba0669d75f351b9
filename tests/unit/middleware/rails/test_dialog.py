"""Dialog rails at the boundary of a graph: their answer ends the run, everything else goes through."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from chainops import Pipeline, SetupError, instrument
from chainops.middleware.rails import DenyList, RailBlocked, Rails
from chainops.settings import load_settings
from chainops.testing import ScriptedModel

pytest.importorskip("nemoguardrails", reason="needs nemoguardrails (the [rails] extra)")

from chainops.middleware.rails.nemo import Dialog

CONFIG = """
rails:
  dialog:
    user_messages: {embeddings_only: true, embeddings_only_similarity_threshold: 0.0}
"""
COLANG = """
define user ask about politics
  "what do you think about the president?"
  "which party should I vote for?"

define user ask about orders
  "where is my order?"
  "how long does delivery take?"

define bot refuse politics
  "I do not talk about politics."

define flow politics
  user ask about politics
  bot refuse politics
"""
SAID = "I do not talk about politics."
POLITICS = "Which party is the best one to vote for?"


def folder(tmp_path: Path, config: str = CONFIG, colang: str = COLANG) -> Path:
    (tmp_path / "config.yml").write_text(config)
    (tmp_path / "dialog.co").write_text(colang)
    return tmp_path


@pytest.fixture(scope="module")
def dialog(tmp_path_factory: pytest.TempPathFactory, embedder: Any) -> Dialog:
    return Dialog(folder(tmp_path_factory.mktemp("dialog")), embedder)


def shop(dialog: Any, ran: list[str], **options: Any) -> Any:
    async def answer(state: MessagesState) -> Any:
        ran.append(state["messages"][-1].text)
        return {"messages": [AIMessage("On Monday.")]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return instrument(builder.compile(), Pipeline([Rails([DenyList("words", ["xyzzy"])], dialog=dialog, **options)]))


async def test_what_the_dialog_answers_ends_the_run_before_a_node_and_everything_else_runs(dialog: Dialog) -> None:
    ran: list[str] = []
    graph = shop(dialog, ran)
    with pytest.raises(RailBlocked) as caught:
        await graph.ainvoke({"messages": [HumanMessage(POLITICS)]})
    assert (caught.value.rail, caught.value.reason, caught.value.failed) == ("dialog", SAID, False)
    state = await graph.ainvoke({"messages": [("user", "Where's my parcel?")]})
    assert state["messages"][-1].text == "On Monday." and ran == ["Where's my parcel?"]


async def test_with_refuse_the_words_of_the_dialog_are_the_run_s_answer_in_every_way_to_run(dialog: Dialog) -> None:
    ran: list[str] = []
    graph = shop(dialog, ran, on_block="refuse")
    asked = {"messages": [("user", POLITICS)]}
    assert [m.text for m in (await graph.ainvoke(asked))["messages"]] == [POLITICS, SAID]
    assert [m.text for m in (await asyncio.to_thread(graph.invoke, asked))["messages"]] == [POLITICS, SAID]
    assert [c["messages"][-1].text async for c in graph.astream(asked, stream_mode="values")] == [SAID]
    parts = [c async for c in graph.astream(asked, stream_mode=["messages", "updates"])]
    assert [(mode, part[0].text) for mode, part in parts] == [("messages", SAID)]
    parts = [c async for c in graph.astream(asked, stream_mode=["values"], version="v2", subgraphs=True)]
    assert [(p["type"], p["data"]["messages"][-1].text) for p in parts] == [("values", SAID)]
    assert ran == []


@pytest.mark.parametrize(
    "given",
    [
        {"messages": POLITICS},
        {"messages": HumanMessage(POLITICS)},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": POLITICS}]}]},
        {"messages": [("user", POLITICS)], "note": 1},
        {"messages": [("user", POLITICS), ("user", "Thank you.")]},
        {"question": POLITICS},
    ],
)
async def test_what_is_said_is_found_in_every_form_that_langgraph_takes(dialog: Dialog, given: Any) -> None:
    with pytest.raises(RailBlocked):
        await shop(dialog, []).ainvoke(given)


async def test_a_turn_that_was_answered_is_not_asked_about_again(dialog: Dialog) -> None:
    talk = [("user", POLITICS), ("ai", SAID), ("user", "Where's my parcel?")]
    assert (await shop(dialog, []).ainvoke({"messages": talk}))["messages"][-1].text == "On Monday."


async def test_only_the_last_turns_reach_the_interpreter_and_nothing_of_them_stays(dialog: Dialog) -> None:
    talk = [("user", POLITICS), ("assistant", SAID), ("system", "be brief"), ("user", "Where's my parcel?")]
    assert (await dialog.answer(talk)).text is None
    assert (await dialog.answer([("assistant", "Hello.")])).text is None
    assert dialog._rails.events_history_cache == {}


async def test_many_at_once_get_each_their_own_answer_and_the_loop_stays_free(dialog: Dialog) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    here, beside = threading.get_ident(), asyncio.create_task(tick())
    seen: list[int] = []
    asked = dialog._asked
    dialog._asked = lambda m: (seen.append(threading.get_ident()), asked(m))[1]  # type: ignore[method-assign]
    try:
        questions = [POLITICS, "Where's my parcel?"] * 5
        said = await asyncio.gather(*(dialog.answer([("user", q)]) for q in questions))
    finally:
        dialog._asked = asked  # type: ignore[method-assign]
        beside.cancel()
    assert [s.text for s in said] == [SAID, None] * 5
    assert here not in seen and ticks > 10


async def test_a_dialog_that_breaks_or_takes_too_long_refuses(dialog: Dialog, monkeypatch: Any) -> None:
    def broken(messages: Any) -> Any:
        raise OSError("no")

    monkeypatch.setattr(dialog, "_asked", broken)
    with pytest.raises(RailBlocked) as caught:
        await shop(dialog, [], on_block="refuse").ainvoke({"messages": [("user", "Hello")]})
    assert caught.value.failed and "OSError" in caught.value.reason
    waiting = threading.Event()
    monkeypatch.setattr(dialog, "_asked", lambda messages: waiting.wait(10))
    monkeypatch.setattr(dialog, "timeout_s", 0.01)
    try:
        with pytest.raises(RailBlocked, match="too long"):
            await shop(dialog, []).ainvoke({"messages": [("user", "Hello")]})
    finally:
        waiting.set()


async def test_an_action_that_there_is_not_refuses(tmp_path: Path, embedder: Any) -> None:
    colang = COLANG.replace("define flow politics\n  user ask about politics\n", "define flow politics\n"
        "  user ask about politics\n  $x = execute look_it_up\n")  # fmt: skip
    broken = Dialog(folder(tmp_path, colang=colang), embedder)
    with pytest.raises(RailBlocked) as caught:
        await shop(broken, []).ainvoke({"messages": [("user", POLITICS)]})
    assert caught.value.rail == "dialog"


async def test_a_model_finds_the_intent_and_says_what_colang_leaves_open(tmp_path: Path, embedder: Any) -> None:
    model = ScriptedModel(["  ask about politics", '  "Ask your newspaper."'])
    colang = COLANG.replace('define bot refuse politics\n  "I do not talk about politics."\n', "")
    said = await Dialog(folder(tmp_path, "models: []\n", colang), embedder, model=model).answer([("user", POLITICS)])
    assert said.text == "Ask your newspaper."
    assert [c["task"] for c in said.model_calls] == ["generate_user_intent", "generate_bot_message"]


def test_a_folder_that_could_not_answer_is_an_error_before_the_first_call(tmp_path: Path, embedder: Any) -> None:
    unsaid = COLANG.replace('define bot refuse politics\n  "I do not talk about politics."\n', "")
    with pytest.raises(SetupError, match="refuse politics"):
        Dialog(folder(tmp_path, colang=unsaid), embedder)
    with pytest.raises(SetupError, match="no dialog rails"):
        Dialog(folder(tmp_path, colang=""), embedder)
    with pytest.raises(SetupError, match="turns"):
        Dialog(folder(tmp_path), embedder, turns=0)


def test_no_code_of_the_folder_or_of_the_working_directory_runs(tmp_path: Path, embedder: Any) -> None:
    (tmp_path / "rails").mkdir()
    home = folder(tmp_path / "rails")
    for place in (tmp_path, home):
        (place / "actions").mkdir()
        for name in ("config.py", "actions.py", "actions/more.py"):
            (place / name).write_text("print('executed ' + __file__)\n")
    (home / "kb").mkdir()
    (home / "kb" / "shop.md").write_text("# Delivery\n\nWe deliver on Mondays.\n")
    script = (
        "import socket\n"
        "def no(*a, **k): raise AssertionError('a connection')\n"
        "socket.socket.connect = no\n"
        "import asyncio\n"
        "from chainops.engines.embeddings import embedder\n"
        "from chainops.middleware.rails.nemo import Dialog\n"
        f"d = Dialog('rails', embedder())\n"
        f"print(asyncio.run(d.answer([('user', {POLITICS!r})])).text)\n"
    )
    (tmp_path / "home").mkdir()
    env = {**os.environ, "HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "cfg"),
           "PYTHONPATH": str(Path(__file__).parents[4])}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == SAID
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if "__pycache__" not in path.parts}
    kept = {"actions.py", "config.py", "actions", "actions/more.py"}
    assert written == {
        *kept,
        "home",
        "rails",
        "rails/config.yml",
        "rails/dialog.co",
        "rails/kb",
        "rails/kb/shop.md",
    } | {f"rails/{name}" for name in kept}


async def test_a_folder_of_dialog_rails_in_the_settings_guards_the_graph(tmp_path: Path, embedder: Any) -> None:
    from chainops.app.rails import build

    rails = build(load_settings(None, rails={"config": folder(tmp_path)}))
    assert rails.dialog is not None and rails.describe()["dialog"]["turns"] == 1
    with pytest.raises(SetupError) as caught:
        build(load_settings(None, rails={"config": tmp_path, "dialog": False}))
    assert caught.value.code == "setup.rails_empty"
