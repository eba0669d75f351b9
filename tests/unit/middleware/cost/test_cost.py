"""What a model call cost stands on it, with the version of the price."""

import asyncio
import contextlib

import pytest
from langchain_core.messages import AIMessage

from chainops import Middleware, Pipeline
from chainops.calls import ModelResult
from chainops.errors import SetupError
from chainops.middleware.cost import Cost
from chainops.testing import ScriptedModel, model_call

from .conftest import answer


def noted(call):
    return call.guard.marks.notes.get("cost") if call.guard.marks is not None else None


async def paid(layer, message, **fields):
    """The note on a call that was answered with ``message``."""

    async def engine(call):
        if isinstance(message, BaseException):
            raise message
        return ModelResult(message=message)

    call = model_call(**{"engine": engine, **fields})
    with contextlib.suppress(RuntimeError, asyncio.CancelledError):
        await Pipeline([layer]).run(call)
    return noted(call)


async def test_a_call_says_what_it_cost_and_by_which_price(price, cost):
    price("scripted", input="1", output="2")
    assert await paid(cost(), answer()) == {"micro": 1200, "currency": "USD", "price": "own@1", "model": "scripted"}


async def test_cached_tokens_and_reasoning_are_priced_apart(price, cost):
    price("scripted", input="1", cached_input="0.1", output="2", reasoning="4")
    message = answer(input_token_details={"cache_read": 400}, output_token_details={"reasoning": 50})
    assert (await paid(cost(), message))["micro"] == 600 + 40 + 100 + 200


async def test_what_has_no_price_is_unknown_and_has_no_figure(price, cost):
    price("other", input="1", output="2")
    assert await paid(cost(), answer()) == {"unknown": "no price for 'scripted'"}
    price("scripted", input="1", output="2")
    found = await paid(cost(), AIMessage("no usage"))
    assert found == {"unknown": "the model reported no usage", "model": "scripted", "price": "own@2"}


async def test_the_deployment_counts_before_the_model_and_the_model_before_the_alias(price, cost):
    class Route(Middleware):
        name = "route"

        async def wrap_model_call(self, call, call_next):
            call.annotate("route", alias="chat", deployment="rack-7", model="gpt")
            return await call_next(call)

    async def engine(call):
        return ModelResult(message=answer(meta={"model_name": "gpt-2026"}))

    seen = []
    for name in ("chat", "scripted", "gpt", "gpt-2026", "rack-7"):
        price(name, input="1", output="2")
        call = model_call(engine=engine)
        await Pipeline([Route(), cost()]).run(call)
        seen.append(noted(call)["model"])
    assert seen == ["chat", "scripted", "gpt", "gpt-2026", "rack-7"]


async def test_settings_may_say_which_name_a_model_has_in_the_book(price, cost):
    price("gpt", input="1", output="2")
    assert (await paid(cost(models={"scripted": "gpt"}), answer()))["model"] == "gpt"


async def test_every_attempt_is_paid_for(price, cost):
    class Again(Middleware):
        name = "retry"

        async def wrap_model_call(self, call, call_next):
            await call_next(call)
            return await call_next(call)

    price("scripted", input="1", output="2")
    call = model_call(engine=ScriptedModel([answer(), answer(tokens=(2000, 100))]))
    await Pipeline([Again(), cost()]).run(call)
    assert noted(call)["micro"] == 1200 + 2200
    assert noted(call)["attempts"] == 2


async def test_a_sum_that_lacks_an_attempt_says_so(price, cost):
    class Again(Middleware):
        name = "retry"

        async def wrap_model_call(self, call, call_next):
            await call_next(call)
            return await call_next(call)

    async def engine(call):
        replies.append(1)
        return ModelResult(message=AIMessage("x") if len(replies) == 1 else answer())

    replies = []
    price("scripted", input="1", output="2")
    call = model_call(engine=engine)
    await Pipeline([Again(), cost()]).run(call)
    assert (noted(call)["micro"], noted(call)["unknown"]) == (1200, "the model reported no usage")


async def test_a_model_of_ones_own_costs_the_time_that_it_worked_without_its_queue(price, cost):
    price("scripted", hour="3.6")
    timings = {"queue_ms": 5000.0, "prefill_ms": 1500.0, "decode_ms": 500.0}
    found = await paid(cost(), answer(meta={"timings": timings}))
    assert (found["micro"], found["seconds"]) == (2000, 2.0)
    measured = await paid(cost(), answer())
    assert measured["micro"] == round(measured["seconds"] * 1000)


async def test_time_is_paid_for_even_where_the_call_fails(price, cost):
    price("scripted", hour="3600")
    found = await paid(cost(), RuntimeError("broken"))
    assert found["micro"] == pytest.approx(found["seconds"] * 1e6, abs=2)


async def test_a_call_that_fails_before_it_used_anything_costs_nothing(price, cost):
    price("scripted", input="1", output="2")
    assert await paid(cost(), RuntimeError("refused")) is None


async def test_a_stream_that_breaks_has_used_nobody_knows_what(price, cost):
    async def engine(call):
        await call.emit("chunk")
        raise RuntimeError("cut")

    price("scripted", input="1", output="2")
    found = await paid(cost(), None, engine=engine, streaming=True)
    assert found == {"unknown": "the call ended before its usage was known", "cut": True}
    assert await paid(cost(), asyncio.CancelledError()) == {"unknown": found["unknown"]}


async def test_a_list_price_elsewhere_says_nothing_of_a_model_in_this_house(tmp_path):
    layer = Cost(tmp_path / "chainops.db")
    local = answer(meta={"model_name": "gpt-4o", "model_provider": "llama.cpp"})
    assert await paid(layer, local) == {"unknown": "no price for 'gpt-4o'"}
    hosted = await paid(layer, answer(meta={"model_name": "gpt-4o", "model_provider": "openai"}))
    assert hosted["price"] == "genai-prices@1"
    assert hosted["micro"] > 0

    class Server:
        openai_api_base = "http://127.0.0.1:8000/v1"

    served = answer(meta={"model_name": "gpt-4o", "model_provider": "openai"})
    assert "unknown" in await paid(layer, served, model=Server())


async def test_prices_in_another_currency_need_a_rate(price, cost):
    price("scripted", currency="USD", input="1", output="2")
    assert (await paid(cost(currency="INR", rates={"USD": "83.2"}), answer()))["micro"] == 99_840
    found = await paid(cost(currency="INR"), answer())
    assert found["unknown"] == "the price is in USD, and [cost.rates] has no USD"


async def test_a_database_that_cannot_be_read_breaks_no_call(tmp_path, caplog):
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database at all, but long enough to be looked at" * 50)
    layer = Cost(broken)
    for _ in range(3):
        assert await paid(layer, answer()) == {"unknown": "there are no price books"}
    assert len([r for r in caplog.records if "Price books cannot be read" in r.message]) == 1


@pytest.mark.parametrize(
    ("options", "code"),
    [({"currency": "euro"}, "cost.currency"), ({"rates": {"EUR": "-1"}}, "cost.amount"), ({"rates": {"x": 1}}, None)],
)
def test_wrong_options_are_clear_errors(options, code, tmp_path):
    with pytest.raises(SetupError) as caught:
        Cost(tmp_path / "x.db", **options)
    assert caught.value.code == (code or "cost.currency")


def test_it_must_be_the_innermost_layer(cost):
    class Retry(Middleware):
        name = "retry"

    with pytest.raises(SetupError, match=r"'retry' .* must come before 'cost'"):
        Pipeline([cost(), Retry()])


async def test_an_answer_from_langchains_own_cache_costs_nothing(price, cost):
    from langchain_core.caches import InMemoryCache

    price("scripted", input="1", output="2", thousand_calls="0")
    model = ScriptedModel([answer()], cache=InMemoryCache())

    async def engine(call):
        return ModelResult(message=await model.ainvoke("hi"))

    seen = []
    for _ in range(2):
        call = model_call(engine=engine)
        await Pipeline([cost()]).run(call)
        seen.append(noted(call)["micro"])
    assert seen == [1200, 0]
