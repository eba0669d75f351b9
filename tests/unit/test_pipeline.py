from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.errors import GraphInterrupt

from chainops import Blocked, Middleware, Pipeline, SetupError
from chainops.calls import ModelCall, ModelResult
from chainops.per_loop import PerLoop
from chainops.testing import ScriptedModel, model_call, node_call, tool_call


class Note(Middleware):
    """Writes its label before and after."""

    def __init__(self, label: str, log: list[str]) -> None:
        self.label, self.log = label, log

    async def wrap_node_call(self, call: Any, call_next: Any) -> Any:
        self.log.append(f"+{self.label}")
        result = await call_next(call)
        self.log.append(f"-{self.label}")
        return result


def notes(labels: str, log: list[str]) -> list[Middleware]:
    return [type(f"Note{label}", (Note,), {})(label, log) for label in labels]


def layer(name: str, **attributes: Any) -> Middleware:
    return type(name.title(), (Middleware,), {"name": name, **attributes})()


async def test_the_first_layer_is_the_outermost() -> None:
    log: list[str] = []
    await Pipeline(notes("abc", log)).run(node_call("x"))
    assert log == ["+a", "+b", "+c", "-c", "-b", "-a"]


LABELS = st.lists(st.sampled_from("abcdef"), unique=True).map("".join)


@given(LABELS.flatmap(lambda s: st.tuples(st.just(s), st.integers(0, len(s)))))
def test_splitting_a_pipeline_changes_nothing(case: tuple[str, int]) -> None:
    labels, cut = case
    whole: list[str] = []
    split: list[str] = []
    asyncio.run(Pipeline(notes(labels, whole)).run(node_call("x")))
    inner = Pipeline(notes(labels[cut:], split))

    async def rest(call: Any) -> Any:
        return call.input

    asyncio.run(Pipeline(notes(labels[:cut], split)).around_node(inner.around_node(rest))(node_call("x")))
    assert whole == split


async def test_a_handler_that_no_layer_wraps_stays_itself() -> None:
    model = ScriptedModel(["hi"])
    pipeline = Pipeline(notes("a", []))
    assert pipeline.around_model(model) is model
    assert pipeline.around_node(model) is not model


async def test_a_composed_chain_is_built_once() -> None:
    pipeline = Pipeline(notes("ab", []))
    assert pipeline.chain("node") is pipeline.chain("node")
    assert pipeline.chain("model") is pipeline.chain("tool")  # nobody wraps either: the bare engine


async def test_around_model_runs_the_layers_and_then_the_model() -> None:
    class Ask(Middleware):
        async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
            result: ModelResult = await call_next(call)
            return result.replace(message=result.message.model_copy(update={"content": result.text + "!"}))

    model = ScriptedModel(["hi"])
    result = await Pipeline([Ask()]).around_model(model)(model_call("hello"))
    assert (result.text, result.tokens, model.calls[0][0].content) == ("hi!", 2, "hello")


def test_a_broken_order_names_both_layers_both_positions_and_the_fix() -> None:
    with pytest.raises(SetupError) as error:
        Pipeline([layer("cache"), layer("rails"), layer("budget", outside=("cache",))])
    assert str(error.value) == (
        "Middleware 'budget' (position 3) must come before 'cache' (position 1) [setup.order]\n"
        "  hint: Move 'budget' above 'cache' in [pipeline].middleware."
    )


def test_inside_is_outside_seen_from_the_other_end() -> None:
    with pytest.raises(SetupError, match=r"'trace' \(position 2\) must come before 'cache' \(position 1\)"):
        Pipeline([layer("cache", inside=("trace",)), layer("trace")])
    Pipeline([layer("trace"), layer("cache", inside=("trace",), outside=("absent",))])


def test_a_name_twice_is_refused_with_both_positions() -> None:
    with pytest.raises(SetupError, match=r"Two middleware are called 'cache' \(positions 1 and 3\)"):
        Pipeline([layer("cache"), layer("b"), layer("cache")])


def test_a_class_instead_of_an_instance_is_refused() -> None:
    with pytest.raises(SetupError, match="Position 1 of the pipeline is"):
        Pipeline([Note])  # type: ignore[list-item]


@pytest.mark.parametrize("bad", [5, {"off": "cache"}, {"off": [1]}])
def test_malformed_node_settings_are_refused(bad: Any) -> None:
    with pytest.raises(SetupError, match=r"nodes\['x'\]"):
        Pipeline([], nodes={"x": bad})


def test_a_typing_error_in_off_is_refused_with_the_right_name() -> None:
    with pytest.raises(SetupError, match="Did you mean 'cache'"):
        Pipeline([layer("cache")], nodes={"*": {"off": ["cahce"]}})
    Pipeline([layer("cache")], nodes={"*": {"off": ["something_else"]}})


def test_later_globs_win_and_off_adds_up() -> None:
    pipeline = Pipeline(
        [], nodes={"*": {"off": ["a"], "cache": {"ttl": 1}}, "draft/*": {"off": ["b"], "cache": {"ttl": 2}}}
    )
    settings = pipeline.settings_for("draft/write")
    assert (settings.off, settings.metadata) == ({"a", "b"}, {"cache": {"ttl": 2}})
    assert pipeline.settings_for("other").off == {"a"}


class SwallowEverything(Middleware):
    async def wrap_node_call(self, call: Any, call_next: Any) -> Any:
        for _ in range(3):
            try:
                return await call_next(call)
            except Exception:
                continue
        return "swallowed"

    wrap_tool_call = wrap_node_call


@pytest.mark.parametrize("make_call", [node_call, tool_call])
async def test_no_layer_can_swallow_control_flow_and_the_engine_does_not_run_again(make_call: Any) -> None:
    ran: list[int] = []
    interrupt = GraphInterrupt()

    async def engine(call: Any) -> Any:
        ran.append(1)
        raise interrupt

    with pytest.raises(GraphInterrupt) as caught:
        await Pipeline([SwallowEverything()]).run(make_call("x", engine=engine))
    assert caught.value is interrupt
    assert ran == [1]


async def test_control_flow_wins_over_an_error_that_a_layer_raises_instead() -> None:
    class Replace(Middleware):
        async def wrap_node_call(self, call: Any, call_next: Any) -> Any:
            try:
                return await call_next(call)
            except Exception as error:
                raise ValueError("mine") from error

    async def engine(call: Any) -> Any:
        raise GraphInterrupt()

    with pytest.raises(GraphInterrupt):
        await Pipeline([Replace()]).run(node_call("x", engine=engine))


async def test_an_ordinary_error_may_be_handled_and_the_engine_tried_again() -> None:
    ran: list[int] = []

    async def engine(call: Any) -> Any:
        ran.append(1)
        if len(ran) < 3:
            raise ValueError("try again")
        return "done"

    assert await Pipeline([SwallowEverything()]).run(node_call("x", engine=engine)) == "done"
    assert len(ran) == 3


def test_errors_keep_message_code_and_hint_through_pickle() -> None:
    error = pickle.loads(pickle.dumps(Blocked("no", hint="ask", code="rails.blocked")))
    assert isinstance(error, RuntimeError)
    assert (error.message, error.hint, error.code) == ("no", "ask", "rails.blocked")


def test_merging_keeps_a_shared_layer_once_and_puts_new_ones_outside() -> None:
    a, b, c = layer("a"), layer("b"), layer("c")
    merged = Pipeline([a, b]).merge(Pipeline([b, c]))
    assert [m.name for m in merged.middleware] == ["a", "b", "c"]
    assert merged.covers(Pipeline([c]))


def test_merging_two_pipelines_that_each_are_right_never_fails_in_the_middle_of_a_run() -> None:
    merged = Pipeline([layer("a"), layer("b")]).merge(Pipeline([layer("b")]))
    assert [m.name for m in merged.middleware] == ["a", "b", "b"]
    with pytest.raises(SetupError, match="Two middleware are called 'b'"):
        merged.check()


async def test_a_buffered_layer_lets_nothing_out_before_it_returned() -> None:
    events: list[str] = []

    class Late(Middleware):
        streaming = "buffered"

        async def wrap_model_call(self, call: ModelCall, call_next: Any) -> ModelResult:
            result: ModelResult = await call_next(call)
            events.append("layer returned")
            return result

    async def emit(chunk: Any) -> None:
        events.append(chunk.content)

    ask = Pipeline([Late()]).around_model(ScriptedModel(["one two"]))
    await ask(model_call(streaming=True, emit=emit))
    assert events == ["layer returned", "one two"]


def test_per_loop_makes_one_object_for_each_loop() -> None:
    made = PerLoop(asyncio.Lock)

    async def two() -> tuple[asyncio.Lock, asyncio.Lock]:
        return made.get(), made.get()

    first, second = asyncio.run(two()), asyncio.run(two())
    assert first[0] is first[1]
    assert first[0] is not second[0]
    with pytest.raises(RuntimeError):
        made.get()


@pytest.mark.parametrize(
    ("class_name", "name"), [("Budget", "budget"), ("TokenBudget", "token_budget"), ("OneAtATime", "one_at_a_time")]
)
def test_a_layer_without_a_name_is_called_after_its_class(class_name: str, name: str) -> None:
    assert type(class_name, (Middleware,), {}).name == name


def test_a_subclass_keeps_the_name_that_its_base_was_given() -> None:
    base = type("Base", (Middleware,), {"name": "trace"})
    assert type("Special", (base,), {}).name == "trace"
    assert type("Other", (type("Plain", (Middleware,), {}),), {}).name == "other"
