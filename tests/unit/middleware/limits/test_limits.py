"""The layer: which calls count where, what is given back, deadlines, priorities, nested calls."""

import asyncio
import json
import pickle
import sqlite3
import time
from typing import Any, TypedDict

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph

import chainops
from chainops import App, Pipeline
from chainops.calls import NodeSettings, RunContext
from chainops.errors import LimitExceeded, SetupError
from chainops.middleware.cache import Cache
from chainops.middleware.limits import LimitRule, Limits
from chainops.middleware.trace import Trace
from chainops.testing import MiddlewareConformance, ScriptedModel, model_call, node_call, tool_call


def run_of(**metadata):
    return RunContext(run_id="r", graph="test", metadata=metadata)


def usage(text, total):
    return AIMessage(text, usage_metadata={"input_tokens": total - 1, "output_tokens": 1, "total_tokens": total})


class TestLimits(MiddlewareConformance):
    def make(self):
        return Limits(
            [
                LimitRule(name="calls", per=("user", "node"), requests=1e6, tokens=1e9, concurrent=50),
                LimitRule(name="nodes", kind="node", per=("graph",), concurrent=50),
                LimitRule(name="tools", kind="tool", requests=1e5, mode="throttle"),
            ]
        )


class TestSharedLimits(MiddlewareConformance):
    @pytest.fixture(autouse=True)
    def directory(self, tmp_path):
        self.made, self.path = [], tmp_path
        yield
        for layer in self.made:
            layer.close()

    def make(self):
        rules = [LimitRule(name="calls", requests=1e6, tokens=1e9, concurrent=50)]
        self.made.append(Limits(rules, path=self.path / f"limits{len(self.made)}.db"))
        return self.made[-1]


async def test_users_are_counted_apart():
    limits = Limits([{"name": "per user", "per": ["user"], "requests": 1, "period_s": 1000, "max_wait_s": 1}])
    ask = Pipeline([limits]).around_model(ScriptedModel(["a"], repeat=True))
    await ask(model_call(run=run_of(user="ann")))
    await ask(model_call(run=run_of(user="bob")))
    with pytest.raises(LimitExceeded) as refused:
        await ask(model_call(run=run_of(user="ann")))
    assert "'per user' (1 requests per 1000 s for each user)" in str(refused.value)
    assert refused.value.retry_after_s == pytest.approx(1000, abs=5)
    assert pickle.loads(pickle.dumps(refused.value)).retry_after_s == refused.value.retry_after_s


async def test_a_rule_counts_the_calls_that_match_it_and_no_others():
    limits = Limits(
        [LimitRule(name="big", match={"model": "big-*", "node": "draft*"}, requests=1, period_s=1000, max_wait_s=1)]
    )
    ask = Pipeline([limits]).around_model(ScriptedModel(["a"], repeat=True))
    for _ in range(3):
        await ask(model_call(name="small", path="draft"))
        await ask(model_call(name="big-70b", path="chat"))
    await ask(model_call(name="big-70b", path="draft/first"))
    with pytest.raises(LimitExceeded):
        await ask(model_call(name="big-7b", path="draft"))


async def test_tokens_are_settled_with_what_the_model_reports():
    limits = Limits([LimitRule(name="tokens", tokens=1000, period_s=1.0, max_wait_s=1000)])
    ask = Pipeline([limits]).around_model(ScriptedModel([usage("a", 5000)], repeat=True))
    await ask(model_call("x" * 30))
    (bucket,) = limits._buckets.values()
    assert bucket.wait_s(time.monotonic()) == pytest.approx(4.9, abs=0.5)  # 5,000 used, a tenth may be ahead


async def test_guesses_get_better_with_every_report():
    limits = Limits([LimitRule(name="tokens", tokens=1e9)])
    call = model_call("word " * 100)
    before = limits.estimates.guess(call)
    ask = Pipeline([limits]).around_model(ScriptedModel([usage("a", 101)], repeat=True))
    await ask(call)
    assert before == pytest.approx(500 / 3 + 256)
    assert limits.estimates.guess(call) == pytest.approx(101)
    assert limits.estimates.guess(model_call("word " * 200)) == pytest.approx(201)


async def test_an_answer_from_the_cache_costs_no_request():
    limits = Limits([LimitRule(name="one", requests=2, period_s=1000, burst=1, max_wait_s=1, tokens=1e9)])
    model = ScriptedModel(["a"])
    ask = Pipeline([limits, Cache()]).around_model(model)
    call = {"model": model, "params": {"temperature": 0}}
    limits.rules = ()
    await ask(model_call(**call))  # into the cache
    limits.rules = (LimitRule(name="one", requests=1, period_s=1000, burst=1, max_wait_s=1, tokens=1e9),)
    for _ in range(5):
        assert (await ask(model_call(**call))).text == "a"
    assert len(model.calls) == 1


async def test_a_call_inside_a_call_needs_no_place_of_its_own():
    limits = Limits([LimitRule(name="one at a time", kind="node", requests=1e6, concurrent=1, max_wait_s=5)])
    handler = Pipeline([limits]).around_node

    async def inner(call: Any) -> Any:
        return "inner"

    async def outer(call: Any) -> Any:
        nested = node_call("y", parent=call, path="node/inner")
        return await handler(inner)(nested)

    assert await asyncio.wait_for(handler(outer)(node_call("x")), 5) == "inner"
    (bucket,) = limits._buckets.values()
    assert bucket.free == 1 and limits._places == {}


async def test_priority_and_deadline_come_from_the_node_or_the_run():
    limits = Limits([LimitRule(name="one", concurrent=1)])
    order: list[str] = []
    gate = asyncio.Event()

    async def engine(call: Any) -> Any:
        if call.args == "first":
            await gate.wait()
        order.append(call.args)

    limits.rules = (LimitRule(name="one", kind="tool", concurrent=1),)
    handler = Pipeline([limits]).around_tool(engine)
    urgent = NodeSettings(metadata={"limits": {"priority": 5}})
    tasks = [asyncio.create_task(handler(tool_call("first")))]
    await asyncio.sleep(0)
    tasks += [
        asyncio.create_task(handler(tool_call("ordinary"))),
        asyncio.create_task(handler(tool_call("by run", run=run_of(priority=1)))),
        asyncio.create_task(handler(tool_call("by node", settings=urgent))),
    ]
    await asyncio.sleep(0.01)
    with pytest.raises(LimitExceeded) as late:
        await handler(tool_call("late", run=run_of(deadline_s=0.01)))
    assert late.value.code == "limits.deadline"
    gate.set()
    await asyncio.gather(*tasks)
    assert order == ["first", "by node", "by run", "ordinary"]


async def test_a_deadline_holds_for_everything_inside_the_run():
    seen: list[float | None] = []

    class State(TypedDict):
        text: str

    class Look(chainops.Middleware):
        async def wrap_model_call(self, call, call_next):
            seen.append(call.remaining_s())
            return await call_next(call)

    model = ScriptedModel(["a"], repeat=True)

    async def node(state):
        return {"text": (await model.ainvoke("hi")).text}

    graph = StateGraph(State).add_node(node).add_edge(START, "node").compile()
    app = chainops.instrument(graph, Pipeline([Limits(deadline_s=100), Look()]))
    await app.ainvoke({"text": ""})
    await app.ainvoke({"text": ""}, {"metadata": {"deadline_s": 7}})
    assert 90 < seen[0] <= 100 and 6 < seen[1] <= 7


async def test_waiting_and_tokens_stand_on_the_span(tmp_path):
    trace, limits = Trace(tmp_path / "t.db"), Limits([LimitRule(name="calls", requests=10, period_s=1.0, burst=1)])
    ask = Pipeline([trace, limits]).around_model(ScriptedModel([usage("a", 9)], repeat=True))
    await asyncio.gather(*(ask(model_call()) for _ in range(3)))
    trace.flush()
    trace.close()
    with sqlite3.connect(tmp_path / "t.db") as db:
        notes = [json.loads(row[0])["limits"] for row in db.execute("SELECT attributes FROM span")]
    db.close()
    assert all(n["limits"] == ["calls"] and n["tokens"] == 9 for n in notes)
    assert sum(n["waited_ms"] > 1 for n in notes) == 2


@pytest.mark.parametrize("bad", [{"limits": 5}, {"limits": {"priority": "high"}}])
async def test_a_malformed_setting_of_a_node_is_a_clear_error(bad):
    limits = Limits([LimitRule(name="calls", requests=5)])
    ask = Pipeline([limits]).around_model(ScriptedModel(["a"]))
    with pytest.raises(SetupError) as wrong:
        await ask(model_call(settings=NodeSettings(metadata=bad)))
    assert wrong.value.code == "setup.limits"


def test_rules_come_from_settings(tmp_path):
    app = App(
        pipeline={"middleware": ["limits"]},
        limits={"rules": [{"name": "x", "per": ["user"], "requests": 5}], "path": tmp_path / "limits.db"},
    )
    (layer,) = app.pipeline.middleware
    assert layer.rules == (LimitRule(name="x", per=("user",), requests=5),)
    app.close()
    with pytest.raises(SetupError, match="Two limits"):
        Limits([LimitRule(name="x", requests=1), LimitRule(name="x", requests=2)])
    with pytest.raises(SetupError, match="request"):
        Limits([{"name": "x", "request": 1}])


def test_a_synchronous_run_waits_in_the_same_queue():
    class State(TypedDict):
        text: str

    limits = Limits([LimitRule(name="calls", requests=500, period_s=1.0, burst=1, concurrent=1)])
    model = ScriptedModel(["a"], repeat=True)

    def node(state):
        return {"text": model.invoke("hi").text}

    graph = StateGraph(State).add_node(node).add_edge(START, "node").compile()
    app = chainops.instrument(graph, Pipeline([limits]))
    assert [app.invoke({"text": ""})["text"] for _ in range(5)] == ["a"] * 5
    (bucket,) = limits._buckets.values()
    assert bucket.free == 1 and bucket.waiting == 0
