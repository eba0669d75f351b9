import asyncio
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from chainops import Middleware
from chainops.calls import NodeSettings
from chainops.errors import Blocked, CallError

SAID = {"scripted": "1"}
"""All scripted models are the same to the cache: what they are is not looked at."""


class Says(Middleware):
    """Does something with each model call before it goes on."""

    def __init__(self, work):
        self.work = work

    async def wrap_model_call(self, call, call_next):
        self.work(call)
        return await call_next(call)


async def test_the_second_equal_call_is_answered_from_the_cache(desk):
    it = desk(["one", "two"])
    assert [(await it.ask()).text for _ in range(3)] == ["one"] * 3
    assert it.asked == 1
    hit = it.notes.last()
    assert (hit["kind"], len(hit["key"]), hit["saved_tokens"]) == ("exact", 32, 2)
    assert hit["saved_ms"] > 0
    assert hit["age_s"] >= 0


async def test_a_hit_tells_the_tokens_and_the_cost_that_it_saved_in_a_node_too(desk):
    from chainops.testing import node_call

    class Cost(Middleware):
        name = "route"

        async def wrap_model_call(self, call, call_next):
            result = await call_next(call)
            call.annotate("cost", micro=120, currency="USD", price="p1")
            return result

    it = desk(["one"])
    node = node_call({}, recorder=it.notes)
    it.handler = behind(it.cache, Cost(), it.model)
    await it.ask(parent=node)
    await it.ask()
    assert (it.notes.last()["saved_micro"], it.notes.last()["saved_tokens"]) == (120, 2)
    assert node.guard.marks.notes["cache.spent"] == {"tokens": 2, "micro": 120}


def behind(cache, layer, model):
    from chainops import Pipeline

    return Pipeline([cache, layer]).around_model(model)


async def test_a_second_cache_on_the_same_directory_finds_what_the_first_stored(desk, make_cache, tmp_path):
    one = desk(["one"], directory=tmp_path / "shared")
    assert (await one.ask()).text == "one"
    one.cache.flush()
    other = desk(["one"], directory=tmp_path / "shared")
    assert (await other.ask()).text == "one"
    assert other.asked == 0


async def test_message_ids_do_not_count_and_neither_do_the_ids_of_tool_calls(desk):
    it = desk(["one", "two"])

    def conversation(n):
        call = {"name": "look", "args": {}, "id": f"id-{n}"}
        return [
            HumanMessage("hi", id=f"h{n}"),
            AIMessage("", tool_calls=[call], id=f"a{n}", response_metadata={"n": n}),
            ToolMessage("found", tool_call_id=f"id-{n}", id=f"t{n}"),
        ]

    await it.ask(messages=conversation(1))
    await it.ask(messages=conversation(2))
    assert it.asked == 1


DIFFERENT = [
    {"text": "other"},
    {"messages": (SystemMessage("hi"),)},
    {"messages": (HumanMessage("hi", name="ada"),)},
    {"messages": (HumanMessage("hi"), HumanMessage(""))},
    {"messages": (HumanMessage([{"type": "text", "text": "hi"}]),)},
    {"params": {"temperature": 0, "top_p": 0.5}},
    {"params": {"temperature": 0, "tools": [{"name": "a"}]}},
    {"params": {"temperature": 0.0, "seed": 1}},
    {"stop": ["x"]},
    {"path": "other"},
    {"tenant": "a"},
    {"tenant": "None"},
]


@pytest.mark.parametrize("change", DIFFERENT, ids=str)
async def test_whatever_the_answer_depends_on_is_in_the_key(desk, change):
    it = desk(["one", "two"])
    await it.ask()
    assert (await it.ask(**change)).text == "two"


def form(**fields):
    from pydantic import create_model

    return create_model("Form", **fields)


async def test_the_form_of_an_answer_may_be_a_class_and_is_in_the_key(desk):
    it = desk(["one", "two", "three", "four"])

    async def ask(wanted):
        return (await it.ask(params={"temperature": 0, "response_format": wanted})).text

    assert [await ask(form(name=(str, ...))) for _ in range(2)] == ["one", "one"]
    assert await ask(form(name=(int, ...))) == "two"
    assert [await ask(object()) for _ in range(2)] == ["three", "four"]
    assert it.notes.last()["why"] == "the input holds a builtins.object"


async def test_another_model_is_another_key(desk):
    it = desk(["one", "two"])
    await it.ask()
    it.model.model_name = "larger"
    assert (await it.ask()).text == "two"


@pytest.mark.parametrize(
    ("params", "stored"),
    [
        ({}, False),
        ({"temperature": 0.7}, False),
        ({"temperature": 0.7, "seed": 7}, True),
        ({"temperature": 0.7, "seed": -1}, False),
        ({"temperature": 0}, True),
    ],
    ids=str,
)
async def test_only_answers_that_would_be_the_same_again_are_kept(desk, params, stored):
    it = desk(["one", "two"])
    assert (await it.ask(params=params)).text == "one"
    assert (await it.ask(params=params)).text == ("one" if stored else "two")
    if not stored:
        assert "without a seed" in it.notes.last()["why"] or "no temperature" in it.notes.last()["why"]


async def test_answers_at_any_temperature_are_kept_by_choice(desk):
    it = desk(["one", "two"], only_deterministic=False)
    assert [(await it.ask(params={})).text for _ in range(2)] == ["one", "one"]


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS"])
async def test_a_truncated_answer_is_never_kept(desk, reason):
    it = desk([AIMessage("cut", response_metadata={"finish_reason": reason}), "whole"])
    assert [(await it.ask()).text for _ in range(3)] == ["cut", "whole", "whole"]
    assert it.asked == 2


async def test_an_empty_answer_is_not_kept(desk):
    it = desk(["", "full"])
    assert [(await it.ask()).text for _ in range(2)] == ["", "full"]


async def test_an_error_that_would_come_again_is_raised_for_a_moment_and_then_asked_again(desk):
    it = desk([CallError("bad schema"), "one"], negative_ttl_s=30)
    errors = []
    for _ in range(3):
        with pytest.raises(CallError) as caught:
            await it.ask()
        errors.append(caught.value)
    assert it.asked == 1
    assert errors[0] is errors[2]
    it.cache.errors.clear()
    assert (await it.ask()).text == "one"


class Retry(CallError):
    retryable = True


@pytest.mark.parametrize("error", [ValueError("x"), ConnectionError("x"), Retry("x"), Blocked("x")], ids=repr)
async def test_other_errors_are_never_kept(desk, error):
    it = desk([error, "one"], negative_ttl_s=30)
    with pytest.raises(type(error)):
        await it.ask()
    assert (await it.ask()).text == "one"


async def test_callers_cannot_change_what_is_cached(desk):
    it = desk([AIMessage([{"type": "text", "text": "one"}], additional_kwargs={"x": [1]})], versions=SAID)
    first = await it.ask()
    first.message.content[0]["text"] = "changed"
    first.message.additional_kwargs["x"].append(2)
    second = await it.ask()
    assert (second.text, second.message.additional_kwargs) == ("one", {"x": [1]})
    second.message.content.clear()
    second.message.additional_kwargs["x"].clear()
    assert (await it.ask()).text == "one"


async def test_an_answer_given_again_is_a_new_message(desk):
    it = desk([AIMessage("one", id="original")])
    assert (await it.ask()).message.id == "original"
    assert (await it.ask()).message.id is None


async def test_tool_calls_get_new_ids_where_the_conversation_has_the_old_ones(desk):
    asks = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "c1"}])
    it = desk([asks])
    assert (await it.ask()).message.tool_calls[0]["id"] == "c1"
    assert (await it.ask()).message.tool_calls[0]["id"] == "c1"
    again = desk([asks, asks])
    talk = (HumanMessage("hi"), asks, ToolMessage("x", tool_call_id="c1"), HumanMessage("again"))
    await again.ask(messages=talk)
    hit = await again.ask(messages=talk)
    assert hit.message.tool_calls[0]["id"] != "c1"
    assert hit.message.tool_calls[0]["name"] == "look"


async def test_what_a_layer_calls_private_is_for_that_user_alone(desk):
    it = desk(["one", "two", "three"], Says(lambda call: call.mark_private()))
    assert (await it.ask(user="ada")).text == "one"
    assert (await it.ask(user="bob")).text == "two"
    assert (await it.ask(user="ada")).text == "one"
    assert (await it.ask()).text == "three"
    assert "one user" in it.notes.last()["why"]


async def test_what_turns_out_private_only_inside_is_not_kept(desk):
    it = desk([])
    told = iter(["one", "two"])

    async def engine(call):
        call.mark_private()
        return await Answers([next(told)])(call)

    handler = it.cache.wrap_model_call
    from chainops.testing import model_call

    def call():
        return model_call(params={"temperature": 0}, model=it.model, recorder=it.notes)

    assert (await handler(call(), engine)).text == "one"
    assert (await handler(call(), engine)).text == "two"
    assert it.notes.last()["why"] == "it is private to a user who is not in the key"


class Answers:
    def __init__(self, texts):
        self.texts = iter(texts)

    async def __call__(self, call):
        from chainops.calls import ModelResult

        return ModelResult(message=AIMessage(next(self.texts)))


async def test_what_a_layer_says_the_answer_depends_on_is_in_the_key(desk):
    version = ["1"]
    it = desk(["one", "two"], Says(lambda call: call.depends("rails", version[0])))
    assert (await it.ask()).text == "one"
    version[0] = "2"
    assert (await it.ask()).text == "two"
    version[0] = "1"
    assert (await it.ask()).text == "one"


async def test_an_answer_that_cannot_be_written_down_is_not_kept_and_the_span_says_so(desk):
    it = desk([AIMessage("one", additional_kwargs={"x": object()}), "two"], versions=SAID)
    assert (await it.ask()).text == "one"
    assert it.notes.last()["why"] == "the result holds a builtins.object"
    assert (await it.ask()).text == "two"


async def test_settings_of_the_node_decide(desk):
    it = desk(["one", "two", "three", "four"])
    off = NodeSettings.parse({"cache": False}, "node")
    short = NodeSettings.parse({"cache": {"ttl_s": 0}}, "node")
    mine = NodeSettings.parse({"cache": {"scope": "user"}}, "node")
    assert [(await it.ask(settings=off)).text for _ in range(2)] == ["one", "two"]
    assert [(await it.ask(settings=short, path="b")).text for _ in range(2)] == ["three", "four"]
    it.model.script += ["five", "six"]
    assert [(await it.ask(settings=mine, user=u)).text for u in ("ada", "bob", "ada")] == ["five", "six", "five"]


@pytest.mark.parametrize("setting", [{"ttl": 3}, {"scope": "all"}, "yes", {"ttl_s": -1}, {"tags": "x"}, {"node": 1}])
async def test_a_wrong_setting_of_a_node_is_a_clear_error(desk, setting):
    from chainops.errors import SetupError

    it = desk(["one"])
    with pytest.raises(SetupError) as caught:
        await it.ask(settings=NodeSettings.parse({"cache": setting}, "node"))
    assert caught.value.code == "setup.node"


async def test_a_tag_of_an_artifact_forgets_what_used_it(desk):
    it = desk(["one", "two"], Says(lambda call: call.artifact("prompt", "hello", "3")))
    await it.ask()
    it.cache.flush()
    assert it.cache.invalidate("prompt:other") == 0
    assert it.cache.invalidate("prompt:hello") == 1
    assert (await it.ask()).text == "two"


async def test_an_answer_under_way_while_its_tag_is_invalidated_is_not_kept(desk, eventually):
    gate = asyncio.Event()
    it = desk(["old", "new"], Says(lambda call: call.artifact("prompt", "hello", "3")), model={"gate": gate})
    first = asyncio.create_task(it.ask())
    await eventually(lambda: it.asked == 1)
    it.cache.invalidate("prompt:hello")
    gate.set()
    assert (await first).text == "old"
    it.cache.flush()
    assert (await it.ask()).text == "new"


async def test_who_asks_after_an_invalidation_does_not_join_a_call_from_before(desk, eventually):
    gate = asyncio.Event()
    it = desk(["old", "new"], model={"gate": gate})
    before = asyncio.create_task(it.ask())
    await eventually(lambda: it.asked == 1)
    it.cache.invalidate("model:scripted")
    after = asyncio.create_task(it.ask())
    await eventually(lambda: it.asked == 2 or it.cache.tiers.store.shared)
    gate.set()
    assert (await before).text == "old"
    assert (await after).text == "new"


async def test_an_expired_answer_is_made_anew(desk):
    it = desk(["one", "two"], ttl_s=100, early_refresh=0)
    now = [time.time()]
    it.cache.tiers.clock = lambda: now[0]
    await it.ask()
    now[0] += 99
    assert (await it.ask()).text == "one"
    now[0] += 2
    assert (await it.ask()).text == "two"


async def test_a_stale_answer_is_served_while_one_caller_makes_a_new_one(desk, eventually):
    gate = asyncio.Event()
    it = desk(["old", "new"], ttl_s=100, stale_s=100, early_refresh=0, model={"gate": gate})
    now = [time.time()]
    it.cache.tiers.clock = lambda: now[0]
    gate.set()
    await it.ask()
    gate.clear()
    now[0] += 150
    maker = asyncio.create_task(it.ask())
    await eventually(lambda: it.asked == 2)
    assert [(await it.ask()).text for _ in range(3)] == ["old"] * 3
    gate.set()
    assert (await maker).text == "new"
    assert (await it.ask()).text == "new"


async def test_early_refresh_grows_likelier_towards_the_end(desk):
    it = desk(["one"], ttl_s=100)
    await it.ask()
    (entry,) = it.cache.tiers.recent._entries.values()
    slow = type(entry)(**{name: getattr(entry, name) for name in entry.__slots__} | {"ms": 10_000.0})
    now = [entry.created]
    it.cache.tiers.clock = lambda: now[0]
    shares = []
    for left in (99, 10, 0.01):
        now[0] = slow.expires - left
        shares.append(sum(it.cache.tiers.is_due(slow) for _ in range(400)) / 400)
    assert shares[0] < 0.05 < 0.2 < shares[1] < 0.6 < 0.9 < shares[2]


NAMES = st.text(max_size=4) | st.integers(-3, 3) | st.booleans() | st.none() | st.lists(st.text(max_size=2), max_size=2)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NAMES, min_size=2, max_size=5), st.text(max_size=3))
async def test_two_tenants_never_share(make_cache, tenants, text):
    from .conftest import Desk

    cache = make_cache(versions=SAID)
    cache.tiers.clear()
    owners = {}
    for tenant in tenants:
        it = Desk(cache, [f"for {tenant!r}"])
        answer = (await it.ask(text, metadata={"tenant": tenant} if tenant is not None else {})).text
        owners.setdefault(answer, set()).add(repr(tenant))
    assert all(len(found) == 1 for found in owners.values())
    assert len(owners) == len(set(map(repr, tenants)))


async def test_one_tenant_shares_with_itself(desk):
    it = desk(["one"], versions=SAID)
    assert [(await it.ask(tenant="a", user=user)).text for user in ("ada", "bob", None)] == ["one"] * 3


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=4), st.text(max_size=4), st.text(max_size=4), st.text(max_size=4))
async def test_parts_of_a_key_cannot_be_shifted_into_one_another(make_cache, tenant, path, text, stop):
    cache = make_cache()
    asking = cache.asking
    from chainops.calls import RunContext
    from chainops.testing import ScriptedModel, model_call

    model, keys = ScriptedModel(["a"]), {}

    def call(tenant, path, text, stop):
        run = RunContext(run_id="r", graph="g", metadata={"tenant": tenant})
        return model_call(text, run=run, path=path, stop=[stop], model=model, params={"temperature": 0})

    for parts in {
        (tenant, path, text, stop),
        (tenant + path, "", text, stop),
        (tenant, path + text, "", stop),
        (stop, text, path, tenant),
        ("", tenant + path + text + stop, "", ""),
    }:
        keys.setdefault((await asking.model(call(*parts))).key, set()).add(parts)
    assert all(len(found) == 1 for found in keys.values())
