"""Answers that leave piece by piece: exactly the guarded whole, and never a part of what was found."""

from __future__ import annotations

import asyncio
import itertools
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk

from chainops import Pipeline
from chainops.calls import ModelCall, ModelResult
from chainops.middleware.rails import ALLOW, DenyList, PatternRail, Rail, RailBlocked, Rails, Subject, Verdict
from chainops.middleware.rails.outgoing import Sentences
from chainops.testing import MiddlewareConformance, ScriptedModel, model_call

SECRET = "sk-abcd1234"
KEYS = {"key": r"sk-[a-z0-9]{8}"}


class Pieces:
    """A model that answers with given chunks."""

    def __init__(self, *chunks: Any) -> None:
        self.chunks = [AIMessageChunk(content=c, id="a1") if isinstance(c, str | list) else c for c in chunks]

    async def __call__(self, call: ModelCall) -> ModelResult:
        total: Any = None
        for chunk in self.chunks:
            await call.emit(chunk)
            total = chunk if total is None else total + chunk
        return ModelResult(message=total)


async def streamed(rails: Rails, model: Any) -> tuple[list[Any], Any]:
    """The chunks that left, and the result or the error."""
    out: list[Any] = []

    async def emit(chunk: Any) -> None:
        out.append(chunk)

    try:
        result: Any = await Pipeline([rails]).around_model(model)(model_call("hi", streaming=True, emit=emit))
    except RailBlocked as error:
        result = error
    return out, result


def text(chunks: list[Any]) -> str:
    return "".join(chunk.text for chunk in chunks)


ALPHABET = st.sampled_from([*"sk-abcd1234 .!?\n", SECRET, "sk-", "attack", " at ", "dawn", "ｄawn", "é", "word "])


@given(st.lists(ALPHABET, max_size=12), st.lists(st.integers(0, 60), max_size=8))
def test_for_any_text_and_any_split_the_stream_is_the_guarded_whole(parts: list[str], cuts: list[int]) -> None:
    whole = "".join(parts)
    places = sorted({0, len(whole), *(c for c in cuts if c < len(whole))})
    pieces = [whole[a:b] for a, b in itertools.pairwise(places)] or [""]
    rails = Rails(
        [PatternRail("keys", KEYS, policy="redact"), DenyList("words", ["attack at dawn"], policy="redact")],
    )

    async def both() -> None:
        chunks, result = await streamed(rails, Pieces(*pieces))
        plain = await Pipeline([rails]).around_model(ScriptedModel([whole]))(model_call("hi"))
        assert text(chunks) == result.text == plain.text
        assert SECRET not in text(chunks) and "attack at dawn" not in text(chunks)

    asyncio.run(both())


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
async def test_no_prefix_of_a_blocked_secret_leaves_and_ordinary_words_do_not_wait(size: int) -> None:
    whole = f"The key is {SECRET} as you know"
    pieces = [whole[i : i + size] for i in range(0, len(whole), size)]
    chunks, error = await streamed(Rails([PatternRail("keys", KEYS)]), Pieces(*pieces))
    assert isinstance(error, RailBlocked) and (error.rail, error.category, error.place) == ("keys", "key", "output")
    assert text(chunks) == "The key is "[: len(text(chunks))] and "sk" not in text(chunks)
    if size == 1:
        assert text(chunks).startswith("The key i")
    chunks, result = await streamed(Rails([PatternRail("keys", KEYS)]), Pieces("one ", "two ", "three"))
    assert [c.text for c in chunks] == ["one ", "two ", "three"] and result.text == "one two three"


async def test_thoughts_are_guarded_too() -> None:
    def thought(part: str) -> Any:
        return AIMessageChunk(content="", additional_kwargs={"reasoning_content": part}, id="a1")

    model = Pieces(thought("I know sk-ab"), thought("cd1234 well"), "fine")
    chunks, result = await streamed(Rails([PatternRail("keys", KEYS, policy="redact")]), model)
    assert "sk-" not in str(chunks)
    assert result.message.additional_kwargs["reasoning_content"] == "I know [key] well"
    chunks, error = await streamed(Rails([PatternRail("keys", KEYS)]), model)
    assert isinstance(error, RailBlocked) and "sk-" not in str(chunks)


async def test_tool_calls_wait_for_their_rails_and_arguments_are_rewritten() -> None:
    calls: Any = [{"name": "send", "args": {"to": "x", "key": SECRET}, "id": "c1"}]
    rails = Rails([PatternRail("keys", KEYS, policy="redact")])
    plain = await Pipeline([rails]).around_model(ScriptedModel([AIMessage("sure", tool_calls=calls)]))(model_call("hi"))
    assert plain.message.tool_calls[0]["args"] == {"to": "x", "key": "[key]"}
    chunks, result = await streamed(rails, ScriptedModel([AIMessage("sure", tool_calls=calls)]))
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    assert total.tool_calls == result.message.tool_calls == plain.message.tool_calls
    assert SECRET not in str(chunks)
    chunks, error = await streamed(Rails([PatternRail("keys", KEYS)]), ScriptedModel([AIMessage("", tool_calls=calls)]))
    assert isinstance(error, RailBlocked) and error.place == "tool_call" and SECRET not in str(chunks)


async def test_a_pattern_that_takes_too_long_in_a_stream_blocks() -> None:
    rail = PatternRail("evil", [r"(\w|\d)*(\w|\d)*(\w|\d)*[!?]$"])
    _, error = await streamed(Rails([rail]), Pieces("a" * 5000, "c"))
    assert isinstance(error, RailBlocked) and error.failed


class NoPanic(Rail):
    """A rail that judges: it waits, and blocks texts with a word."""

    waits = True

    def __init__(self, **options: Any) -> None:
        super().__init__("panic", places=["output"], **options)
        self.seen: list[str] = []

    async def check(self, subject: Subject) -> Verdict:
        self.seen.append(subject.text)
        await asyncio.sleep(0)
        return Verdict("block", "panic", "panic") if "panic" in subject.text else ALLOW


WORDS = ["All ", "is ", "well. ", "Do ", "not ", "panic. ", "More ", "text."]


async def test_hold_lets_a_sentence_leave_when_it_has_been_judged_with_what_stood_before() -> None:
    rail = NoPanic()
    chunks, error = await streamed(Rails([rail]), Pieces(*WORDS))
    assert isinstance(error, RailBlocked) and text(chunks) == "All is well. "
    assert rail.seen == ["All is well. ", "All is well. Do not panic. "]
    rail = NoPanic()
    chunks, result = await streamed(Rails([rail]), Pieces(*WORDS[:5]))
    assert text(chunks) == result.text == "All is well. Do not " and rail.seen[-1] == "All is well. Do not "


async def test_cut_lets_text_leave_at_once_and_ends_the_stream_when_a_rail_blocks() -> None:
    class Slowly(Pieces):
        async def __call__(self, call: ModelCall) -> ModelResult:
            async def emit(chunk: Any) -> None:
                await call.emit(chunk)
                for _ in range(5):
                    await asyncio.sleep(0)

            return await super().__call__(call.replace(emit=emit))

    chunks, error = await streamed(Rails([NoPanic()], stream="cut"), Slowly(*WORDS))
    assert isinstance(error, RailBlocked) and text(chunks) == "All is well. Do not panic. "
    assert error.retract == "a1" and pickle.loads(pickle.dumps(error)).retract == "a1"
    chunks, result = await streamed(Rails([NoPanic()], stream="cut"), Slowly(*WORDS[:3]))
    assert text(chunks) == result.text == "All is well. "


@pytest.mark.parametrize("rails", [Rails([NoPanic()], stream="whole"), Rails([NoPanic()], on_block="refuse")])
async def test_nothing_leaves_before_the_whole_is_judged_where_it_must_not(rails: Rails) -> None:
    chunks, result = await streamed(rails, Pieces(*WORDS))
    assert getattr(result, "retract", None) is None
    said = "I cannot help with that."
    assert text(chunks) == ("" if isinstance(result, RailBlocked) else said)
    assert isinstance(result, RailBlocked) or (result.text == said and result.message.id == "a1")


async def test_a_judge_that_breaks_holds_the_sentence_back() -> None:
    class Broken(NoPanic):
        async def check(self, subject: Subject) -> Verdict:
            raise ValueError("no model")

    chunks, error = await streamed(Rails([Broken()]), Pieces(*WORDS))
    assert chunks == [] and isinstance(error, RailBlocked) and error.failed


async def test_a_stream_that_is_dropped_leaves_no_judgement_running() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def judge(window: str) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def emit(chunk: Any) -> None:
        pass

    sentences = Sentences(emit, judge, cut=True)
    await sentences(AIMessageChunk(content="One. "))
    await began.wait()
    await sentences.drop()
    assert ended.is_set()


class TestRailsThatHoldSentences(MiddlewareConformance):
    def make(self) -> Any:
        return Rails([NoPanic(), PatternRail("keys", KEYS, policy="redact")])


class TestRailsThatCut(MiddlewareConformance):
    def make(self) -> Any:
        return Rails([NoPanic()], stream="cut")


class TestRailsThatWait(MiddlewareConformance):
    def make(self) -> Any:
        return Rails([NoPanic()], stream="whole", on_block="refuse")
