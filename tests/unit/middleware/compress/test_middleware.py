"""The layer around models: what fits passes, what does not is shortened or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from chainops import App, Middleware, Pipeline, SetupError
from chainops.calls import ModelResult, NodeSettings
from chainops.middleware.compress import Compress, ContextOverflow
from chainops.middleware.compress.counting import Counts, TableCounter
from chainops.middleware.compress.stages import STRATEGIES
from chainops.testing import MiddlewareConformance, ScriptedModel, model_call

from .histories import check_pairs, histories

COUNTS = Counts(TableCounter("o200k"))


class TestCompress(MiddlewareConformance):
    def make(self) -> Middleware:
        return Compress(windows={"*": 4000})


class Desk:
    """A layer around a model that answers "ok", and what reached that model."""

    def __init__(self, strategy: Any = "balanced", model: Any = None, **options: Any) -> None:
        self.model = model or ScriptedModel(["ok"], repeat=True, model_name="gpt-4o")
        self.layer = Compress(strategy, **options)
        self.handler = Pipeline([self.layer]).around_model(self.model)
        self.notes: dict[str, Any] = {}

    async def ask(self, messages: list[BaseMessage], node: Any = None, **fields: Any) -> list[BaseMessage]:
        setting = NodeSettings(metadata={"compress": node}) if node is not None else NodeSettings()
        call = model_call(messages=tuple(messages), model=self.model, name="gpt-4o", settings=setting, **fields)
        await self.handler(call)
        self.notes = call.guard.marks.notes["compress"] if call.guard.marks and call.guard.marks.notes else {}
        return list(self.model.calls[-1])


def talk(turns: int, words: int = 50) -> list[BaseMessage]:
    found: list[BaseMessage] = [SystemMessage("You run the desk of a shop.")]
    for i in range(turns):
        found += [HumanMessage(f"question {i} " + "word " * words), AIMessage(f"answer {i} " + "word " * words)]
    return [*found, HumanMessage("And now?")]


async def test_what_fits_is_passed_on_untouched() -> None:
    desk, messages = Desk(windows={"*": 100_000}), talk(5)
    assert await desk.ask(messages) == messages
    assert desk.notes == {}


@pytest.mark.parametrize("strategy", ["balanced", "aggressive", "trim"])
async def test_a_long_conversation_loses_its_oldest_turns_and_keeps_system_and_question(strategy: str) -> None:
    desk, messages = Desk(strategy, windows={"gpt-4*": 1500}), talk(40)
    sent = await desk.ask(messages)
    assert sent[0] == messages[0] and sent[-1] == messages[-1]
    assert len(sent) < len(messages) and isinstance(sent[1], HumanMessage)
    assert desk.notes["tokens_after"] <= 1500 - desk.notes["reserved_answer"]
    assert desk.notes["tokens_before"] == COUNTS.messages(messages)
    assert desk.notes["error"] == COUNTS.counter.error


async def test_only_the_last_five_messages_are_retained() -> None:
    """The seeds: "In a chatbot, only the last 5 messages might be retained as context"."""
    desk, messages = Desk("last_n"), talk(6)
    assert await desk.ask(messages) == [messages[0], *messages[-5:]]
    assert await desk.ask(messages[:6]) == messages[:6]


async def test_last_n_never_cuts_a_call_from_its_results() -> None:
    calls = [{"name": "look", "args": {}, "id": str(i)} for i in range(3)]
    results = [ToolMessage("found", tool_call_id=str(i)) for i in range(3)]
    messages = [HumanMessage("a"), AIMessage("", tool_calls=calls), *results, AIMessage("b"), HumanMessage("c")]
    desk = Desk("last_n", last_n=4)
    assert await desk.ask(messages) == messages[-2:]


async def test_a_question_that_is_too_long_is_refused_with_the_part_that_is_too_long() -> None:
    desk = Desk(windows={"*": 400})
    with pytest.raises(ContextOverflow, match=r"message 1 \(human\)") as caught:
        await desk.ask([SystemMessage("Be kind."), HumanMessage("".join(f"({i}) " for i in range(900)))])
    assert isinstance(caught.value, ContextOverflowError)
    assert caught.value.limit < 400 < caught.value.tokens
    assert next(iter(caught.value.parts)) == "message 1 (human)"
    assert desk.model.calls == []


async def test_tools_and_answer_take_their_share_of_the_window() -> None:
    tool = {"type": "function", "function": {"name": "look", "description": "Looks. " * 200, "parameters": {}}}
    desk, messages = Desk(windows={"*": 1200}), talk(12, 20)
    assert len(await desk.ask(messages, params={"max_tokens": 10})) == len(messages)
    assert len(await desk.ask(messages, params={"max_tokens": 10, "tools": [tool]})) < len(messages)
    assert desk.notes["reserved_tools"] > 200 and desk.notes["reserved_answer"] == 10


async def test_a_node_has_a_budget_of_its_own() -> None:
    desk, messages = Desk(), talk(30)
    assert await desk.ask(messages) == messages, "the window is not known"
    assert len(await desk.ask(messages, node={"window": 900, "answer_reserve": 100})) < len(messages)
    assert desk.notes["window"] == 900
    assert await desk.ask(messages, node="last_n") == [messages[0], *messages[-5:]]
    for value in ("off", False):
        assert await desk.ask(messages, node=value) == messages
    with pytest.raises(SetupError, match="'lat_n'"):
        await desk.ask(messages, node="lat_n")


async def test_the_profile_of_a_model_gives_its_window() -> None:
    model = ScriptedModel(["ok"], repeat=True, profile={"max_input_tokens": 900})
    desk = Desk(model=model)
    assert len(await desk.ask(talk(30))) < 61
    assert desk.notes["window"] == 900


async def test_the_cut_stays_where_it_is_while_a_conversation_grows_by_less_than_a_step() -> None:
    desk = Desk("trim", windows={"*": 2000}, step=0.4)
    messages, firsts = talk(30, 30), []
    for i in range(8):
        sent = await desk.ask([*messages[:-1], *talk(i, 5)[1:]])
        firsts.append(sent[1].content)
    assert 1 <= len(set(firsts)) <= 2


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(max_examples=40)
@given(data=st.data())
async def test_any_history_stays_whole(strategy: Any, data: Any) -> None:
    messages = data.draw(histories())
    before = COUNTS.messages(messages)
    window = data.draw(st.integers(60, 900))
    desk = Desk(strategy, windows={"*": window}, answer_reserve=10, last_n=3)
    try:
        sent = await desk.ask(messages)
    except ContextOverflow as error:
        assert error.limit < error.tokens <= before
        return
    check_pairs(sent)
    after = COUNTS.messages(sent)
    assert after <= before and after <= window - 10
    assert [m for m in sent if isinstance(m, SystemMessage)] == [m for m in messages if isinstance(m, SystemMessage)]
    order = [m.id for m in messages]
    places = [order.index(m.id) for m in sent]
    assert places == sorted(places), "the order stays"
    assert next(m for m in reversed(messages) if isinstance(m, HumanMessage)) in sent
    assert await desk.ask(messages) == sent, "the same every time"
    if strategy != "last_n" and before <= (window - 10) / (1 + COUNTS.counter.error):
        assert sent == messages, "what fits stays as it is"
    assert await desk.ask(sent) == sent, "once is enough"


@pytest.mark.llama
async def test_the_local_models_own_vocabulary_and_template_count(tiny_path: Path) -> None:
    from chainops.engines.llama import ChatLlama

    model = ChatLlama(model_path=tiny_path, n_ctx=512, max_tokens=32)
    try:
        handler = Pipeline([layer := Compress()]).around_model(_engine(model))
        messages = talk(30, 10)
        call = model_call(messages=tuple(messages), model=model, name=model.model_name)
        result: ModelResult = await handler(call)
        notes = call.guard.marks.notes["compress"]
        assert notes["error"] == 0 and notes["window"] == 512 and notes["reserved_answer"] == 32
        assert result.message.usage_metadata["input_tokens"] <= 512 - 32
        assert result.message.usage_metadata["input_tokens"] <= notes["tokens_after"]
        assert layer._counts.of(model, call.name).counter.count("<|im_end|>") > 1, "inside a message it is plain text"
    finally:
        model.close()


def _engine(model: Any) -> Any:
    async def engine(call: Any) -> ModelResult:
        return ModelResult(message=await model.ainvoke(list(call.messages)))

    return engine


def test_settings_make_the_layer() -> None:
    app = App(pipeline={"middleware": ["compress"]}, compress={"strategy": "last_n", "last_n": 7, "windows": {"*": 9}})
    layer = app.pipeline.middleware[0]
    assert isinstance(layer, Compress) and layer.last_n == 7 and layer.windows == {"*": 9}
    with pytest.raises(SetupError, match=r"compress\.strategy"):
        Compress("best")  # type: ignore[arg-type]
