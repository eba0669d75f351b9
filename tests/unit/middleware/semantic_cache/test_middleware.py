"""The semantic cache around real vectors."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from chainops import Middleware, Pipeline, SetupError
from chainops.calls import ModelResult, NodeSettings, RunContext
from chainops.middleware.semantic_cache import SemanticCache
from chainops.store.semantic import SemanticFile
from chainops.testing import MiddlewareConformance, ScriptedModel, model_call

SHIPPING = [
    "How much is shipping?",
    "What does delivery cost?",
    "What do you charge for sending a parcel?",
    "Tell me the price of delivery",
    "Is there a fee for postage?",
    "What would I pay to have it sent?",
    "Delivery charges please",
    "How expensive is it to ship something?",
    "What are your postage rates?",
    "Cost of sending an item to my home",
]


@pytest.mark.usefixtures("embedder")
class TestSemanticCache(MiddlewareConformance):
    @pytest.fixture(autouse=True)
    def _embedder(self, embedder: Any) -> None:
        self.embedder = embedder

    def make(self) -> Middleware:
        return SemanticCache(self.embedder, mode="on", threshold=1.0)


def answer(messages: Any) -> str:
    question = str(messages[-1].text)
    return "Shipping is free above fifty euros." if question in SHIPPING else f"I heard: {question}"


class Desk:
    """A model behind the cache that answers every question with its own text, or with one text for a topic."""

    def __init__(self, embedder: Any, directory: Path | None = None, **options: Any) -> None:
        self.model = ScriptedModel([answer], repeat=True)
        self.cache = SemanticCache(embedder, directory, **{"mode": "on", "threshold": 1.3, **options})
        self.ask_model = Pipeline([self.cache]).around_model(self.model)

    async def ask(self, question: str, system: str = "", mode: Any = None, **metadata: Any) -> ModelResult:
        messages = [*([SystemMessage(system)] if system else []), HumanMessage(question)]
        setting = NodeSettings(metadata={"semantic_cache": mode}) if mode is not None else NodeSettings()
        run = RunContext(run_id="r", graph="g", metadata=metadata)
        return await self.ask_model(model_call(messages=messages, model=self.model, run=run, settings=setting))

    @property
    def calls(self) -> int:
        return len(self.model.calls)


def hit(result: ModelResult) -> bool:
    return bool(result.raw.get("cache"))


async def test_a_question_that_means_what_many_known_ones_mean_is_answered_from_them(embedder: Any) -> None:
    desk = Desk(embedder)
    for question in SHIPPING:
        await desk.ask(question)
    before = desk.calls
    result = await desk.ask("What is the cost of delivery to my house?")
    assert hit(result) and desk.calls == before
    assert result.text == "Shipping is free above fifty euros."


async def test_a_few_known_questions_are_not_enough(embedder: Any) -> None:
    desk = Desk(embedder)
    for question in SHIPPING[:2]:
        await desk.ask(question)
    assert not hit(await desk.ask("What is the cost of delivery?"))


async def test_the_same_question_with_other_white_space_is_known_at_once(embedder: Any) -> None:
    desk = Desk(embedder, threshold=None)
    await desk.ask("How much is shipping?")
    assert hit(await desk.ask("how much is  shipping"))
    assert not hit(await desk.ask("How much is shipping to 2 houses?"))


async def test_without_a_threshold_and_calibration_only_the_same_question_is_answered(embedder: Any) -> None:
    desk = Desk(embedder, threshold=None)
    for question in SHIPPING:
        await desk.ask(question)
    assert not hit(await desk.ask("What is the cost of delivery to my house?"))


@pytest.mark.parametrize(
    "other",
    ["How much is not shipping?", "How much is shipping for 3 parcels?", "How much is shipping to Oslo?"],
)
async def test_guards_refuse_whatever_the_score(embedder: Any, other: str) -> None:
    desk = Desk(embedder, threshold=0.0)
    for question in SHIPPING:
        await desk.ask(question)
    assert not hit(await desk.ask(other))


async def test_it_is_off_unless_a_node_asks(embedder: Any) -> None:
    desk = Desk(embedder, mode="off")
    for _ in range(2):
        assert not hit(await desk.ask("How much is shipping?"))
    await desk.ask("How much is shipping?", mode="on")
    assert hit(await desk.ask("How much is shipping?", mode=True))
    with pytest.raises(SetupError, match="'perhaps'"):
        await desk.ask("How much is shipping?", mode="perhaps")


async def test_shadow_mode_answers_nothing_and_keeps_what_would_have_been(embedder: Any, tmp_path: Path) -> None:
    desk = Desk(embedder, tmp_path, mode="shadow")
    for question in [*SHIPPING, "What is the cost of delivery to my house?", "How do I ship a horse?"]:
        assert not hit(await desk.ask(question))
    pairs = SemanticFile(tmp_path).pairs(embedder.identity)
    assert any(not pair.same and pair.question == "How do I ship a horse?" for pair in pairs)
    assert any(pair.same for pair in pairs)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=5), st.text(max_size=5), st.sampled_from(["tenant", "user"]))
def test_two_tenants_and_two_users_never_share(embedder: Any, one: str, other: str, key: str) -> None:
    async def run() -> None:
        desk = Desk(embedder, threshold=0.0, scope=key)
        await desk.ask("How much is shipping?", **{"user": "u", key: one})
        assert hit(await desk.ask("How much is shipping?", **{"user": "u", key: other})) == (one == other)

    asyncio.run(run())


async def test_other_prompts_models_and_conversations_do_not_share(embedder: Any) -> None:
    desk = Desk(embedder)
    await desk.ask("How much is shipping?", system="Be kind.")
    assert not hit(await desk.ask("How much is shipping?", system="Be brief."))
    assert hit(await desk.ask("How much is shipping?", system="Be kind."))
    other = Desk(embedder)
    other.cache.file = desk.cache.file
    other.model.model_name = "another"
    assert not hit(await other.ask("How much is shipping?", system="Be kind."))


async def test_what_is_private_is_kept_for_its_user_or_not_at_all(embedder: Any) -> None:
    class Private(Middleware):
        outside = ("semantic_cache",)

        async def wrap_model_call(self, call: Any, call_next: Any) -> Any:
            call.mark_private()
            return await call_next(call)

    desk = Desk(embedder)
    desk.ask_model = Pipeline([Private(), desk.cache]).around_model(desk.model)
    await desk.ask("Where is my order?", user="ann")
    assert hit(await desk.ask("Where is my order?", user="ann"))
    assert not hit(await desk.ask("Where is my order?", user="bob"))
    assert not hit(await desk.ask("Where is my order?")) and not hit(await desk.ask("Where is my order?"))


async def test_answers_with_tool_calls_or_cut_answers_are_not_kept(embedder: Any) -> None:
    desk = Desk(embedder)
    call = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}])
    cut = AIMessage("Shipping is", response_metadata={"finish_reason": "length"})
    for kept in (call, cut, AIMessage(" ")):
        desk.model.script = [kept]
        assert [hit(await desk.ask("How much is shipping?")) for _ in range(2)] == [False, False]


async def test_forgetting_by_tag_reaches_every_process_that_has_the_file_open(embedder: Any, tmp_path: Path) -> None:
    one, other = Desk(embedder, tmp_path), Desk(embedder, tmp_path)
    await one.ask("How much is shipping?")
    assert hit(await other.ask("How much is shipping?"))
    assert SemanticFile(tmp_path).invalidate(["graph:g"]) == 1
    assert not hit(await other.ask("How much is shipping?"))
    assert hit(await one.ask("How much is shipping?"))


async def test_an_answer_that_began_before_an_invalidation_is_not_kept(embedder: Any) -> None:
    desk = Desk(embedder)

    class Forgetting(Middleware):
        inside = ("semantic_cache",)

        async def wrap_model_call(self, call: Any, call_next: Any) -> Any:
            desk.cache.file.invalidate(["graph:g"])
            return await call_next(call)

    desk.ask_model = Pipeline([desk.cache, Forgetting()]).around_model(desk.model)
    assert [hit(await desk.ask("How much is shipping?")) for _ in range(3)] == [False] * 3


async def test_a_message_that_the_embedder_would_not_read_whole_is_no_question(embedder: Any) -> None:
    desk = Desk(embedder, threshold=0.0)
    context = "The shop opens at nine. " * 40
    await desk.ask(f"{context} The code is red.")
    assert not hit(await desk.ask(f"{context} The code is blue."))
    assert not hit(await desk.ask(f"{context} The code is red."))


async def test_answers_expire(embedder: Any) -> None:
    desk = Desk(embedder, ttl_s=1e-9)
    await desk.ask("How much is shipping?")
    assert not hit(await desk.ask("How much is shipping?"))


async def test_a_verifier_has_the_last_word(embedder: Any) -> None:
    for word, expected in (("No.", False), ("Yes, they do", True)):
        desk = Desk(embedder, verifier=ScriptedModel([word], repeat=True))
        for question in SHIPPING:
            await desk.ask(question)
        assert hit(await desk.ask("What is the cost of delivery to my house?")) == expected
    broken = Desk(embedder, verifier=ScriptedModel([RuntimeError("down")], repeat=True))
    for question in SHIPPING:
        await broken.ask(question)
    assert not hit(await broken.ask("What is the cost of delivery to my house?"))


async def test_only_the_newest_answers_of_a_partition_stay(embedder: Any) -> None:
    desk = Desk(embedder, max_entries=2, threshold=9.0)
    for question in ("one apple", "two pears", "three plums"):
        await desk.ask(question)
    assert [hit(await desk.ask(q)) for q in ("three plums", "two pears", "one apple")] == [True, True, False]


async def test_a_broken_file_never_breaks_a_call(embedder: Any) -> None:
    desk = Desk(embedder)
    desk.cache.close()
    assert (await desk.ask("How much is shipping?")).text.startswith("Shipping")
