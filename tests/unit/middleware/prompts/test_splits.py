"""Labels that mean several versions: who gets which, kill switch, unseen answers."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

import chainops
from chainops import Pipeline, SetupError, instrument
from chainops.calls import RunContext
from chainops.errors import StoreError
from chainops.middleware.prompts import Prompts
from chainops.middleware.prompts.splits import Split, assign, kill, start, unit_of
from chainops.middleware.trace import Trace
from chainops.store.artifacts import Artifacts
from chainops.testing import ScriptedModel


def split(*weights: float, **options: Any) -> Split:
    arms = [{"version": i, "weight": weight} for i, weight in enumerate(weights, 1)]
    return Split.model_validate({"arms": arms, **options})


def test_the_shares_are_within_one_percent_of_the_weights_over_100_000_units() -> None:
    made = split(50, 30, 20)
    got = Counter(assign(made, "p/prod", f"user-{i}") for i in range(100_000))
    for version, share in ((1, 0.5), (2, 0.3), (3, 0.2)):
        assert abs(got[version] / 100_000 - share) < 0.01, got


def test_a_unit_gets_the_same_version_in_every_process() -> None:
    code = (
        "from chainops.middleware.prompts.splits import Split, assign\n"
        "s = Split.model_validate({'arms': [{'version': 1, 'weight': 1}, {'version': 2, 'weight': 1}]})\n"
        "print([assign(s, 'p/prod', f'u{i}') for i in range(50)])"
    )
    got = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in "ab"
    ]
    assert got[0] == got[1] == f"{[assign(split(1, 1), 'p/prod', f'u{i}') for i in range(50)]}\n"


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 100), st.integers(0, 100), st.text(max_size=20))
def test_when_weights_change_a_unit_moves_only_across_the_border_that_moved(old: int, new: int, unit: str) -> None:
    before, after = (assign(split(100 - share, share or 1e-9), "p/prod", unit) for share in (old, new))
    if old < new:
        assert (before, after) != (2, 1)
    elif old > new:
        assert (before, after) != (1, 2)
    else:
        assert before == after


def test_another_salt_or_another_prompt_assigns_anew() -> None:
    units = [f"u{i}" for i in range(1000)]
    plain = [assign(split(1, 1), "p/prod", unit) for unit in units]
    for other in (
        [assign(split(1, 1, salt="x"), "p/prod", u) for u in units],
        [assign(split(1, 1), "q/prod", u) for u in units],
    ):
        assert 400 < sum(a != b for a, b in zip(plain, other, strict=True)) < 600


def test_a_weight_of_nothing_is_never_assigned() -> None:
    assert {assign(split(0, 1, 0), "p/prod", f"u{i}") for i in range(1000)} == {2}


def test_a_run_says_who_it_is_for() -> None:
    run = RunContext(run_id="r", thread_id="t", metadata={"user_id": 7})
    assert (unit_of(run, "user"), unit_of(run, "thread")) == ("7", "t")
    assert unit_of(RunContext(run_id="r"), "user") is None


class State(TypedDict, total=False):
    q: str
    said: str


class Shop:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = Artifacts(path)
        inputs = {"properties": {"q": {"type": "string"}}}
        for text in ("one {{ q }}", "two {{ q }}", "three"):
            content = {"inputs": inputs, "messages": [{"role": "user", "template": text}]}
            self.store.add("prompt", "ask", content, author="ann")
        self.store.move("prompt", "ask", "prod", 1, who="ann")

    def split(self, *weights: int, **options: Any) -> None:
        arms = [{"version": i, "weight": weight} for i, weight in enumerate(weights, 1)]
        start(self.path, "ask", "prod", {"arms": arms, **options}, who="ann")

    def graph(self, model: ScriptedModel, *layers: Any, by_setting: bool = False) -> Any:
        async def node(state: State) -> State:
            messages = [] if by_setting else chainops.prompt("ask").messages(q=state["q"])
            return {"said": str((await model.ainvoke([*messages, ("human", "!")] if by_setting else messages)).text)}

        builder = StateGraph(State)
        builder.add_node("node", node, metadata={"chainops": {"prompts": "ask"}} if by_setting else None)
        builder.add_edge(START, "node")
        return instrument(builder.compile(), Pipeline([*layers, self.prompts]))

    @property
    def prompts(self) -> Prompts:
        if not hasattr(self, "made"):
            self.made = Prompts(self.path, max_age_s=0)
        return self.made

    def rows(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as db:
            return db.execute(sql).fetchall()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "prompts.db")


def user(name: str) -> Any:
    return {"metadata": {"user": name}}


def person(number: int, *weights: float) -> str:
    """A user who gets version ``number``."""
    return next(f"u{i}" for i in range(1000) if assign(split(*weights), "ask/prod", f"u{i}") == number)


async def test_each_user_keeps_a_version_and_the_span_says_which(shop: Shop) -> None:
    shop.split(50, 50)
    model = ScriptedModel(["."], repeat=True)
    trace = Trace(shop.path)
    made = shop.graph(model, trace)
    for number in (1, 2, 1, 2):
        await made.ainvoke({"q": "?"}, user(person(number, 50, 50)))
    assert [call[0].text for call in model.calls] == ["one ?", "two ?", "one ?", "two ?"]
    trace.close()
    noted = [json.loads(row[0])["prompts"] for row in shop.rows("SELECT attributes FROM span WHERE kind = 'model'")]
    seen = [entry["asked"]["experiment"] for entry in noted]
    assert [entry["version"] for entry in seen] == [1, 2, 1, 2]
    assert seen[0]["unit"] == seen[2]["unit"] != seen[1]["unit"]
    assert person(1, 50, 50) not in json.dumps(seen)


async def test_a_run_that_says_no_user_gets_what_the_label_means(shop: Shop) -> None:
    shop.split(0, 1)
    model = ScriptedModel(["."])
    await shop.graph(model).ainvoke({"q": "?"})
    assert model.calls[0][0].text == "one ?"


async def test_the_kill_switch_brings_everybody_back_and_is_written_down(shop: Shop) -> None:
    shop.split(0, 1)
    model = ScriptedModel(["."], repeat=True)
    made = shop.graph(model)
    await made.ainvoke({"q": "?"}, user("u"))
    kill(shop.path, "ask", "prod", who="bea", why="it swears")
    await made.ainvoke({"q": "?"}, user("u"))
    assert [call[0].text for call in model.calls] == ["two ?", "one ?"]
    last = shop.store.moves("split", "ask/prod")[-1]
    assert (last.who, last.why, last.to_version) == ("bea", "it swears", None)
    with pytest.raises(StoreError, match="is not split"):
        kill(shop.path, "ask", "prod", who="bea", why="again")
    shop.store.rollback("prompt", "ask", "prod", who="ann") if len(shop.store.moves("prompt", "ask")) > 1 else None


async def test_a_retired_version_of_a_split_is_left_out(shop: Shop) -> None:
    shop.split(0, 1)
    shop.store.retire("prompt", "ask", 2, who="ann", why="bad")
    model = ScriptedModel(["."])
    await shop.graph(model).ainvoke({"q": "?"}, user("u"))
    assert model.calls[0][0].text == "one ?"


@pytest.mark.parametrize("by_setting", [False, True])
async def test_in_shadow_mode_the_other_version_answers_unseen_and_both_are_stored(
    shop: Shop, by_setting: bool
) -> None:
    shop.split(0, 1, shadow=True)
    model = ScriptedModel([lambda messages: f"to {messages[0].text}"], repeat=True)
    trace = Trace(shop.path)
    made = shop.graph(model, trace, by_setting=by_setting)
    chunks = [c async for c, _ in made.astream({"q": "?"}, user("u"), stream_mode="messages")]
    await shop.prompts.drain()
    assert "".join(str(chunk.text) for chunk in chunks) == "to one ?"
    trace.close()
    rows = shop.rows("SELECT output, attributes, status FROM span WHERE name = 'shadow'")
    assert len(rows) == 1 and rows[0][2] == "ok"
    assert "to two ?" in rows[0][0] and json.loads(rows[0][1])["prompts"]["version"] == 2
    assert len(shop.rows("SELECT 1 FROM span WHERE kind = 'model'")) == 1


async def test_an_unseen_answer_that_fails_or_hangs_changes_nothing_for_the_seen_one(shop: Shop) -> None:
    shop.split(0, 1, shadow=True)
    never = asyncio.Event()

    async def other(call: Any, call_next: Any) -> Any:
        if call.messages[0].text.startswith("two"):
            await never.wait()
        return await call_next(call)

    class Slow(chainops.Middleware):
        inside = ("prompts",)
        wrap_model_call = staticmethod(other)

    def answer(messages: Any) -> Any:
        return RuntimeError("broken") if messages[0].text.startswith("two") else "seen"

    model = ScriptedModel([answer], repeat=True)
    assert (await shop.graph(model).ainvoke({"q": "?"}, user("u")))["said"] == "seen"
    await shop.prompts.drain()

    async def node(state: State) -> State:
        return {"said": str((await model.ainvoke(chainops.prompt("ask").messages(q="?"))).text)}

    builder = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    made = instrument(builder.compile(), Pipeline([shop.prompts, Slow()]))
    assert (await made.ainvoke({"q": "?"}, user("u")))["said"] == "seen"
    never.set()
    await shop.prompts.drain()


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ({"arms": []}, "arms: Tuple should have at least 1 item"),
        ({"arms": [{"version": 1, "weight": -1}]}, "weight: Input should be greater"),
        ({"arms": [{"version": 1, "weight": 0}]}, "all weights are 0"),
        ({"arms": [{"version": 1, "weight": 1}, {"version": 1, "weight": 1}]}, "stands in it twice"),
        ({"arms": [{"version": 2, "weight": 1}]}, "points to version 1, which is none of its arms"),
        ({"arms": [{"version": 1, "weight": 1}], "unit": "city"}, "unit: Input should be 'user' or 'thread'"),
    ],
)
def test_a_split_that_is_wrong_is_refused(shop: Shop, raw: dict[str, Any], problem: str) -> None:
    with pytest.raises(SetupError, match=problem) as caught:
        start(shop.path, "ask", "prod", raw, who="ann")
    assert caught.value.code == "setup.split"


def test_a_split_of_what_is_not_there_is_refused(shop: Shop) -> None:
    with pytest.raises(StoreError, match="no version 9"):
        start(shop.path, "ask", "prod", {"arms": [{"version": 1, "weight": 1}, {"version": 9, "weight": 1}]}, who="ann")
    with pytest.raises(StoreError, match="no label 'beta'"):
        start(shop.path, "ask", "beta", {"arms": [{"version": 1, "weight": 1}]}, who="ann")
