"""Old turns told by a model, and what is not believed of it."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from chainops import Blocked, Middleware, Pipeline
from chainops.middleware.compress import Compress
from chainops.middleware.compress.overflow import ContextOverflow
from chainops.middleware.compress.summary import HEAD, INSTRUCTION, facts_of, supported
from chainops.middleware.pii import Pii
from chainops.testing import ScriptedModel, model_call

from .histories import check_pairs, histories
from .test_middleware import COUNTS

TOPICS = "tea rain salt wood wool sand milk glass paper iron straw bread light music".split()  # noqa: SIM905


def history() -> list[BaseMessage]:
    found: list[BaseMessage] = [HumanMessage("I am Ada Berg and my order 4183 is late."), AIMessage("I see. " * 20)]
    for topic in TOPICS:
        remark = " ".join(f"this remark about {topic} and {other} says nothing," for other in TOPICS[:4])
        found += [HumanMessage(remark), AIMessage(remark.replace("remark", "answer"))]
    return [*found, HumanMessage("What now?")]


class Desk:
    def __init__(self, summary: Any, *inner: Middleware, **options: Any) -> None:
        def line(messages: Any) -> Any:
            told = summary(messages) if callable(summary) else summary
            return told if messages[0].text == INSTRUCTION else "fine"

        self.model = ScriptedModel([line], repeat=True, model_name="gpt-4o")
        self.layer = Compress(windows={"*": 1000}, answer_reserve=100, summary=True, **options)
        self.handler = Pipeline([self.layer, *inner]).around_model(self.model)

    async def ask(self, messages: list[BaseMessage], **fields: Any) -> list[BaseMessage]:
        await self.handler(model_call(messages=tuple(messages), model=self.model, name="gpt-4o", **fields))
        return list(self.model.calls[-1])

    @property
    def summaries(self) -> int:
        return sum(call[0].text == INSTRUCTION for call in self.model.calls)


async def test_what_does_not_fit_is_told_in_its_place() -> None:
    desk = Desk("The user Ada Berg says that order 4183 is late.")
    sent = await desk.ask(history())
    assert sent[0].text == f"{HEAD}\nThe user Ada Berg says that order 4183 is late."
    assert sent[-1].text == "What now?" and len(sent) > 4
    assert await desk.ask(history()) == sent and desk.summaries == 1, "told once"


async def test_what_nobody_said_is_left_out_and_what_the_person_said_is_put_in() -> None:
    desk = Desk("The user waits. Order 9999 was paid by Tom Ruiz. The user was told that it will take time.")
    first = (await desk.ask(history()))[0].text
    assert "9999" not in first and "Tom" not in first
    assert "The user waits." in first and "4183" in first, "the number that the summary lacked"


async def test_a_model_that_fails_or_invents_everything_is_replaced_by_extraction() -> None:
    for summary in (ValueError("no"), "Order 1 of Zoe Quist costs 77.", ""):
        sent = await Desk(summary).ask(history())
        assert sent[0].text.startswith(HEAD) and "4183" in sent[0].text


async def test_the_summary_goes_through_the_layers_inside_and_not_into_the_stream() -> None:
    seen: list[str] = []

    class Rail(Middleware):
        name = "rails"

        async def wrap_model_call(self, call: Any, call_next: Any) -> Any:
            seen.append(call.messages[0].text)
            if call.messages[0].text == INSTRUCTION and blocked:
                raise Blocked("no")
            return await call_next(call)

    chunks: list[str] = []

    async def emit(chunk: Any) -> None:
        chunks.append(chunk.text)

    blocked = False
    desk = Desk("Ada Berg waits for order 4183.", Rail())
    await desk.ask(history(), emit=emit, streaming=True)
    assert seen[0] == INSTRUCTION and "".join(chunks) == "fine"
    blocked = True
    sent = await Desk("Ada Berg waits for order 4183.", Rail()).ask(history())
    assert "4183" in sent[0].text, "a summary that is refused is made by extraction"


async def test_another_model_may_tell_it() -> None:
    other = ScriptedModel(["Ada Berg waits for order 4183."], repeat=True)
    desk = Desk("never asked", summarizer=other)
    assert "waits for order" in (await desk.ask(history()))[0].text
    assert desk.summaries == 0 and len(other.calls) == 1


async def test_without_the_setting_no_model_is_asked() -> None:
    desk = Desk("x")
    desk.layer.summary = False
    sent = await desk.ask(history())
    assert desk.summaries == 0 and not sent[0].text.startswith(HEAD)


def test_numbers_and_names_are_facts() -> None:
    assert facts_of("Then Ada paid 3.50 at 12:30 in Oslo. The rest is open.") == {"ada", "3.50", "12:30", "oslo"}
    assert supported("It cost 35 euros.", "It cost 350 euros.") == ("", {"35"})


async def test_the_model_that_tells_sees_no_personal_data_and_the_facts_come_through() -> None:
    desk = Desk(lambda messages: "The user writes from <EMAIL_1> about order 4183.", Pii())
    messages = [HumanMessage("I am Ada Berg, ada.berg@example.com, and my order 4183 is late."), *history()[1:]]
    sent = await desk.ask(messages)
    asked = next(call for call in desk.model.calls if call[0].text == INSTRUCTION)
    assert "ada.berg@example.com" not in asked[1].text and "<EMAIL_1>" in asked[1].text
    assert sent[0].text.startswith(f"{HEAD}\nThe user writes from <EMAIL_1> about order 4183.")


@settings(max_examples=30)
@given(data=st.data())
async def test_with_summaries_any_history_stays_whole(data: Any) -> None:
    messages, window = data.draw(histories()), data.draw(st.integers(200, 900))
    told = data.draw(st.sampled_from(["The order 4183 was sent to Berlin.", "", "Nobody said 77.", "so " * 400]))
    desk = Desk(told)
    desk.layer.windows, desk.layer.answer_reserve = {"*": window}, 10
    before = COUNTS.messages(messages)
    try:
        sent = await desk.ask(messages)
    except ContextOverflow as error:
        assert error.limit < error.tokens <= before
        return
    assert COUNTS.messages(sent) <= min(before, window - 10)
    kept = [m for m in sent if not m.text.startswith(HEAD)]
    check_pairs(kept)
    places = [[m.id for m in messages].index(m.id) for m in kept]
    assert places == sorted(places) and len(sent) - len(kept) <= 1
    assert await desk.ask(messages) == sent, "the same every time"
