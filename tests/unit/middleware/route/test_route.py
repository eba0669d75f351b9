"""Who is asked, why, and who comes next."""

import json
import sqlite3
from typing import TypedDict

import pytest
from langchain_core.messages import AIMessage, SystemMessage
from langgraph.graph import START, StateGraph
from pydantic import BaseModel

import chainops
from chainops import App, CallError, Pipeline, SetupError
from chainops.calls import NodeSettings, RunContext
from chainops.gateway import Alias, Deployment, Gateway, RouteRule
from chainops.middleware.cache import Cache
from chainops.middleware.retry import Retry
from chainops.middleware.route import Route, difficulty
from chainops.middleware.route.cascade import mean_logprob
from chainops.middleware.route.decide import Decider
from chainops.middleware.route.exemplars import EASY, HARD
from chainops.middleware.trace import Trace
from chainops.testing import MiddlewareConformance, ScriptedModel, model_call

LEAVE, CLAUSE = "What is our leave policy?", "Draft a legal clause for this MOU"


def gateway(small=None, large=None, **options):
    small, large = small or ["small"], large or ["large"]
    deployments = [
        Deployment("small", ScriptedModel(small, repeat=True, model_name="gpt-3.5")),
        Deployment("large", ScriptedModel(large, repeat=True, model_name="gpt-4")),
    ]
    return Gateway(deployments, [Alias("chat", tiers=("small", "large"), **options)])


async def nobody(call):
    raise AssertionError("the router did not choose")


def ask(gate, *, layers=(), **fields):
    around = Pipeline([*layers, Route(gate)]).around_model(nobody)
    return lambda text, **more: around(
        model_call(text, name="chat", model=chainops.model("chat"), **{**fields, **more})
    )


class TestRoute(MiddlewareConformance):
    def make(self):
        return Route(gateway())


class TestRouteOfEverything(MiddlewareConformance):
    """The kit's model is called "scripted": here it is routed back to a model that answers like it."""

    def make(self):
        return Route(Gateway([Deployment("other", ScriptedModel(["x"], repeat=True))]))


async def test_the_seeds_two_questions_go_where_they_say():
    asked = ask(gateway())
    assert (await asked(LEAVE)).text == "small"
    assert (await asked(CLAUSE)).text == "large"


def test_words_tell_the_exemplars_apart():
    assert max(difficulty(text).score for text in EASY) < 0.5 < min(difficulty(text).score for text in HARD)


def test_a_long_text_takes_little_more_than_a_short_one_and_counts_as_long():
    short, long = difficulty("the customer wrote about it. "), difficulty("the customer wrote about it. " * 5000)
    assert long.features["length"] == 1.0 > short.features["length"]


async def test_rules_come_before_difficulty_and_the_budget_before_both():
    rules = (
        RouteRule("large", matches=r"(?i)leave"),
        RouteRule("small", node="bulk/*"),
        RouteRule("large", tools=True),
        RouteRule("small", metadata={"plan": "free"}),
    )
    asked = ask(gateway(rules=rules))
    assert (await asked(LEAVE)).text == "large"
    assert (await asked(CLAUSE, path="bulk/x")).text == "small"
    assert (
        await asked("Hello there", params={"tools": [{"type": "function", "function": {"name": "f"}}]})
    ).text == "large"
    assert (await asked(CLAUSE, run=RunContext(run_id="r", metadata={"plan": "free"}))).text == "small"

    class Budgets(chainops.Middleware):
        name = "budgets"

        async def wrap_model_call(self, call, call_next):
            call.annotate("budgets", degrade=True)
            return await call_next(call)

    short = ask(gateway(rules=rules), layers=[Budgets()])
    assert (await short(LEAVE)).text == "small"


async def test_decision_and_reason_stand_on_the_span(tmp_path):
    trace = Trace(tmp_path / "t.db")
    asked = ask(gateway(small=[ConnectionError("down")]), layers=[trace])
    assert (await asked(LEAVE)).text == "large"
    trace.close()
    with sqlite3.connect(tmp_path / "t.db") as db:
        route = json.loads(db.execute("SELECT attributes FROM span").fetchone()[0])["route"]
    db.close()
    assert route["alias"] == "chat" and route["tier"] == "small" and route["reason"] == "difficulty"
    assert route["deployment"] == "large" and route["model"] == "gpt-4"
    assert route["failed"] == ["small: ConnectionError: down"] and 0 <= route["difficulty"] < 0.1


async def test_a_node_can_be_bound_to_a_model():
    around = Pipeline([Route(gateway())]).around_model(ScriptedModel(["its own"], repeat=True))
    bound = NodeSettings(metadata={"route": {"model": "large"}})
    assert (await around(model_call(settings=bound))).text == "large"
    assert (await around(model_call())).text == "its own"
    with pytest.raises(SetupError, match="Did you mean 'large'"):
        await around(model_call(settings=NodeSettings(metadata={"route": "larg"})))
    with pytest.raises(SetupError, match="setting 'route'"):
        await around(model_call(settings=NodeSettings(metadata={"route": 5})))


async def test_a_name_without_the_layer_says_what_is_missing():
    with pytest.raises(CallError) as alone:
        await chainops.model("chat").ainvoke("hi")
    assert alone.value.code == "route.no_layer"
    with pytest.raises(CallError):
        async for _ in chainops.model("chat").astream("hi"):
            pass
    with pytest.raises(CallError):
        list(chainops.model("chat").stream("hi"))


@pytest.mark.parametrize(
    ("answer", "options", "why"),
    [
        (AIMessage(""), {}, "empty"),
        (AIMessage("half", response_metadata={"finish_reason": "length"}), {}, "cut off"),
        (AIMessage("x", invalid_tool_calls=[{"name": "f", "args": "{", "id": "1", "error": None}]), {}, "a tool call"),
        (
            AIMessage("hm", response_metadata={"logprobs": {"content": [{"token": "hm", "logprob": -3.0}]}}),
            {"min_logprob": -1.0},
            "mean log-probability -3.00 < -1",
        ),
        (AIMessage("Paris has 2300000 inhabitants"), {"min_support": 0.5}, "support 0.00 < 0.5"),
    ],
)
async def test_a_cascade_goes_on_when_an_answer_is_not_good_enough(tmp_path, answer, options, why):
    trace = Trace(tmp_path / "t.db")
    asked = ask(gateway(small=[answer], cascade=True, **options), layers=[trace])
    assert (await asked("What is it?")).text == "large"
    trace.close()
    with sqlite3.connect(tmp_path / "t.db") as db:
        route = json.loads(db.execute("SELECT attributes FROM span").fetchone()[0])["route"]
    db.close()
    assert len(route["rejected"]) == 1 and route["rejected"][0].startswith(f"small: {why}")


async def test_a_cascade_keeps_a_good_answer_and_streams_it_whole():
    chunks = []

    async def emit(chunk):
        chunks.append(str(chunk.text))

    context = [SystemMessage("You get 30 days of leave.")]
    gate = gateway(small=["30 days of leave"], cascade=True, min_support=0.5)
    call = model_call(name="chat", messages=(*context, *model_call(LEAVE).messages), streaming=True, emit=emit)
    result = await Pipeline([Route(gate)]).around_model(nobody)(call)
    assert result.text == "30 days of leave" == "".join(chunks)


async def test_a_cascade_does_not_stream_what_it_rejects():
    chunks = []

    async def emit(chunk):
        chunks.append(str(chunk.text))

    gate = gateway(small=["made up nonsense words"], cascade=True, min_support=0.9)
    call = model_call(LEAVE, name="chat", streaming=True, emit=emit)
    result = await Pipeline([Route(gate)]).around_model(nobody)(call)
    assert result.text == "large" == "".join(chunks)


async def test_an_answer_that_was_not_liked_is_better_than_none():
    gate = gateway(small=["made up nonsense words"], large=[ConnectionError("down")], cascade=True, min_support=0.9)
    assert (await ask(gate)(LEAVE)).text == "made up nonsense words"


async def test_json_that_was_asked_for_must_be_json():
    asked = ask(
        gateway(small=["no json"], large=['{"a": 1}'], cascade=True),
        params={"response_format": {"type": "json_object"}},
    )
    assert (await asked(LEAVE)).text == '{"a": 1}'


AGE = {
    "type": "object",
    "properties": {"age": {"$ref": "#/$defs/years"}},
    "required": ["age"],
    "$defs": {"years": {"type": "integer", "minimum": 0}},
}


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ('{"age": 3}', True),
        ('{"age": -1}', False),
        ('{"years": 3}', False),
        ("[]", False),
    ],
)
@pytest.mark.parametrize("wanted", [{"json_schema": {"name": "age", "schema": AGE}}, {"schema": AGE}])
async def test_an_answer_that_is_not_of_the_schema_asked_for_goes_to_the_next_tier(answer, kept, wanted):
    gate = gateway(small=[answer], large=['{"age": 9}'], cascade=True)
    asked = ask(gate, params={"response_format": {"type": "json_schema", **wanted}})
    assert (await asked(LEAVE)).text == (answer if kept else '{"age": 9}')


async def test_no_answer_is_blamed_for_a_schema_that_is_none_or_lies_elsewhere():
    for schema in ({"type": "nonsense"}, {}, {"$ref": "http://127.0.0.1:9/schema"}):
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        asked = ask(gateway(small=['{"a": 1}'], cascade=True), params={"response_format": wanted})
        assert (await asked(LEAVE)).text == '{"a": 1}'


@pytest.mark.parametrize(
    ("name", "args", "kept"),
    [("get_age", {"age": 3}, True), ("get_age", {"age": "three"}, False), ("get_name", {}, False)],
)
async def test_a_call_that_its_tool_would_refuse_goes_to_the_next_tier(name, args, kept):
    small = AIMessage("", tool_calls=[{"name": name, "args": args, "id": "1"}])
    tools = [{"type": "function", "function": {"name": "get_age", "parameters": AGE}}]
    result = await ask(gateway(small=[small], cascade=True), params={"tools": tools})(LEAVE)
    assert [call["name"] for call in result.message.tool_calls] == (["get_age"] if kept else [])


def test_log_probabilities_are_averaged_where_there_are_any():
    content = [{"logprob": -1.0}, {"logprob": -3.0}]
    assert mean_logprob({"logprobs": {"content": content}}) == -2.0
    assert mean_logprob({}) is None and mean_logprob({"logprobs": None}) is None


async def test_the_embedder_is_asked_where_words_do_not_decide(embedder):
    from chainops.middleware.route.difficulty import Meaning

    meaning = Meaning(embedder)
    assert await meaning.score("How many vacation days do employees have?") < 0.5
    assert await meaning.score("Formulate a non-compete provision for the shareholder contract") > 0.5
    decider = Decider(gateway(thresholds=(0.17,)), meaning)
    text = "Formulate a provision on confidentiality for our shareholders"
    decision = await decider.decide("chat", model_call(text))
    assert abs(difficulty(text).score - 0.17) < 0.12 and decision.tier == "large"


class Mood(BaseModel):
    """A mood."""

    word: str


def test_a_graph_with_a_name_for_a_model_streams_binds_tools_and_gives_structures():
    call = {"name": "Mood", "args": {"word": "glad"}, "id": "1"}
    small = ["plain words", AIMessage("", tool_calls=[call])]

    class State(TypedDict):
        text: str
        mood: str

    def node(state):
        model = chainops.model("chat")
        text = "".join(str(c.text) for c in model.stream(LEAVE))
        return {"text": text, "mood": model.with_structured_output(Mood).invoke("What is it?").word}

    graph = StateGraph(State).add_node(node).add_edge(START, "node").compile()
    app = chainops.instrument(graph, Pipeline([Route(gateway(small=small)), Retry()]))
    assert app.invoke({"text": "", "mood": ""}) == {"text": "plain words", "mood": "glad"}


async def test_a_cache_outside_keeps_what_a_name_answered():
    gate = gateway(small=["one", "two"])
    asked = ask(gate, layers=[Cache()], params={"temperature": 0})
    assert [(await asked(LEAVE)).text for _ in range(2)] == ["one", "one"]


def test_settings_make_the_gateway(tmp_path, monkeypatch):
    settings = {
        "pipeline": {"middleware": ["route", "retry"]},
        "route": {
            "models": {
                "small": {"factory": "chainops.testing:ScriptedModel", "options": {"script": ["hi"]}, "weight": 2},
                "large": {"url": "http://127.0.0.1:9/v1", "key_env": "NO_SUCH_KEY"},
                "local": {"file": str(tmp_path / "none.gguf")},
                "odd": {"factory": "chainops.testing:model_call"},
                "gone": {"factory": "no_such_module:x"},
            },
            "aliases": {"chat": {"tiers": ["small", "large"], "rules": [{"to": "large", "matches": "x"}]}},
        },
    }
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    app = App(**settings)
    found = app.pipeline.middleware[0].gateway
    assert found.deployments["small"].model.script == ["hi"] and found.deployments["small"].weight == 2
    for name in ("large", "odd", "gone"):
        with pytest.raises(SetupError) as wrong:
            _ = found.deployments[name].model
        assert wrong.value.code == "setup.route"
    assert found.aliases["chat"].rules[0].to == "large"
    with pytest.raises(SetupError, match="exactly one of"):
        App(route={"models": {"x": {"file": "a", "url": "b"}}})
