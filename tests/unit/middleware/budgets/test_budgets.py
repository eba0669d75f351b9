"""How much may be spent, and what happens at the end of it."""

import asyncio
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from chainops import Middleware, Pipeline
from chainops.errors import LimitExceeded, SetupError, StoreError
from chainops.middleware.budgets import Budgets
from chainops.middleware.budgets.rules import budget_of, span_of
from chainops.middleware.cache import Cache
from chainops.testing import ScriptedModel

from ..cost.conftest import answer

# a call costs 1,200 micro-USD; with "hi" and max_tokens=100, 209 are reserved
DAY = {"per": ["user"], "period": "day", "hard": "0.01"}


async def test_what_a_call_really_cost_is_charged_and_the_rest_of_its_estimate_given_back(desk):
    made = desk(DAY)
    notes = await made.ask("ann")
    account = made.only()
    assert (account.scope, account.key, account.span) == ("user/day", '["ann"]', "2026-11-21")
    assert (account.spent, account.reserved, account.calls) == (1200, 0, 1)
    assert notes["budgets"] == {"reserved": 209, "currency": "USD", "left": 10_000 - 209}


async def test_a_hard_budget_refuses_with_the_time_at_which_the_next_one_begins(desk):
    made = desk(DAY)
    for _ in range(8):
        await made.ask("ann")
    with pytest.raises(LimitExceeded) as caught:
        await made.ask("ann")
    error = caught.value
    assert error.code == "budgets.spent"
    assert error.retry_after_s == 12 * 3600
    assert "user 'ann' for 2026-11-21" in error.message
    assert "0.0096 spent of 0.01 USD" in error.message
    assert "2026-11-22T00:00:00+00:00" in error.hint
    assert len(made.model.calls) == 8
    assert made.only().refused == 1
    await made.ask("bob")


async def test_the_next_day_begins_anew_in_the_zone_of_the_settings(desk, clock):
    made = desk({**DAY, "hard": "0.0014"}, timezone="Asia/Kolkata")
    await made.ask("ann")
    with pytest.raises(LimitExceeded) as caught:
        await made.ask("ann")
    assert caught.value.retry_after_s == 6.5 * 3600  # it is 17:30 in Kolkata
    clock.now += 6.5 * 3600
    await made.ask("ann")
    assert sorted(span for _, _, span in made.accounts()) == ["2026-11-21", "2026-11-22"]


async def test_a_call_is_charged_to_the_day_on_which_it_began(desk, clock):
    made = desk(DAY, script=[lambda messages: (setattr(clock, "now", clock.now + 86_400), answer())[1]])
    await made.ask("ann")
    assert made.only().span == "2026-11-21"


async def test_past_a_soft_budget_calls_are_told_to_go_the_cheap_way_and_go_on(desk):
    made = desk({"per": ["tenant"], "soft": "0.0013", "hard": "1"})
    assert "degrade" not in (await made.ask(None, "acme"))["budgets"]
    notes = (await made.ask(None, "acme"))["budgets"]
    assert (notes["degrade"], notes["soft"]) == (True, ["tenant/month"])
    assert made.only().degraded == 1


async def test_budgets_of_several_scopes_hold_together_and_all_or_none_is_reserved(desk):
    made = desk(
        {"per": ["user"], "period": "day", "hard": "1"},
        {"per": ["tenant"], "period": "month", "hard": "0.0013"},
        {"per": ["chain", "user"], "period": "year", "hard": "1"},
        {"period": "month", "hard": "1"},
    )
    await made.ask("ann", "acme")
    with pytest.raises(LimitExceeded, match="tenant 'acme' for 2026-11"):
        await made.ask("bob", "acme")
    found = made.accounts()
    assert {place: account.spent for place, account in found.items()} == {
        ("user/day", '["ann"]', "2026-11-21"): 1200,
        ("tenant/month", '["acme"]', "2026-11"): 1200,
        ("chain+user/year", '["test","ann"]', "2026"): 1200,
        ("all/month", "", "2026-11"): 1200,
    }
    assert all(account.reserved == 0 for account in found.values())


async def test_of_budgets_with_one_scope_the_first_that_fits_counts(desk):
    special = {"per": ["tenant"], "hard": "1", "match": {"tenant": "acme*"}}
    made = desk(special, {"per": ["tenant"], "hard": "0.0001"})
    await made.ask(None, "acme-eu")
    with pytest.raises(LimitExceeded):
        await made.ask(None, "other")


async def test_calls_of_low_priority_may_use_a_share_only_and_of_high_priority_are_never_degraded(desk):
    made = desk({"hard": "0.004", "soft": "0.001", "low_share": 0.5})
    await made.ask()
    with pytest.raises(LimitExceeded, match=r"0.002 USD for calls of low priority"):
        await made.ask(metadata={"priority": -1}, params={"max_tokens": 200})
    assert (await made.ask(metadata={"priority": 0}))["budgets"]["degrade"] is True
    assert "degrade" not in (await made.ask(metadata={"priority": 1}))["budgets"]


@pytest.mark.parametrize("error", [RuntimeError("broken"), asyncio.CancelledError()])
async def test_a_call_that_fails_gives_everything_back(desk, error):
    async def fail(call):
        assert made.budgets.file.accounts()[0].reserved == 209
        raise error

    made = desk(DAY)
    with pytest.raises(type(error)):
        await Pipeline([made.budgets, made.cost]).around_model(fail)(made.call("ann"))
    account = made.only()
    assert (account.spent, account.reserved, account.calls) == (0, 0, 0)


async def test_a_call_that_is_cancelled_while_the_model_works_gives_everything_back(desk):
    gate = asyncio.Event()
    made = desk(DAY, model=ScriptedModel([answer()], gate=gate))
    task = asyncio.create_task(made.handler(made.call("ann")))
    async with asyncio.timeout(10):
        while not made.model.calls:
            await asyncio.sleep(0)
    assert made.only().reserved == 209
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (made.only().spent, made.only().reserved) == (0, 0)


async def test_calls_that_are_cancelled_while_they_ask_leave_nothing_reserved(desk):
    made = desk(DAY)
    tasks = [asyncio.create_task(made.handler(made.call(f"u{i}"))) for i in range(50)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(account.reserved for account in made.accounts().values()) == 0


async def test_a_stream_that_is_left_after_it_began_is_not_free(desk):
    async def engine(call):
        await call.emit("chunk")
        raise asyncio.CancelledError

    made = desk(DAY)
    with pytest.raises(asyncio.CancelledError):
        await Pipeline([made.budgets, made.cost]).around_model(engine)(made.call("ann", streaming=True))
    assert (made.only().spent, made.only().guessed, made.only().reserved) == (209, 1, 0)


async def test_what_has_no_price_is_charged_at_its_estimate_and_counted(desk):
    made = desk(DAY, model=ScriptedModel(["no price"], repeat=True, model_name="other"))
    await made.ask("ann", name="other")
    account = made.only()
    assert (account.spent, account.guessed, account.reserved) == (10_000, 1, 0)


async def test_a_cached_answer_costs_nothing(desk):
    made, cache = desk(DAY), Cache()
    made.handler = Pipeline([made.budgets, cache, made.cost]).around_model(made.model)
    for _ in range(3):
        await made.ask("ann", params={"temperature": 0, "max_tokens": 100})
    assert (made.only().spent, made.only().calls) == (1200, 3)
    cache.close()


async def test_every_attempt_of_a_retry_is_charged(desk):
    class Again(Middleware):
        name = "retry"

        async def wrap_model_call(self, call, call_next):
            await call_next(call)
            return await call_next(call)

    made = desk(DAY)
    made.handler = Pipeline([made.budgets, Again(), made.cost]).around_model(made.model)
    await made.ask("ann")
    assert made.only().spent == 2400


async def test_a_thousand_calls_at_once_spend_exactly_their_sum(desk):
    made = desk({"hard": "100"})
    await asyncio.gather(*[made.ask(f"u{i % 7}") for i in range(1000)])
    assert (made.only().spent, made.only().reserved, made.only().calls) == (1_200_000, 0, 1000)


async def test_with_estimates_that_hold_a_budget_is_never_overspent(desk):
    made = desk({"hard": "0.02"}, script=[answer(tokens=(5, 100))])  # 205, and 209 are reserved
    results = await asyncio.gather(*[made.ask() for _ in range(300)], return_exceptions=True)
    refused = [r for r in results if isinstance(r, LimitExceeded)]
    account = made.only()
    assert len(refused) == account.refused > 100
    assert account.spent == 205 * (300 - len(refused))
    assert 19_000 < account.spent <= 20_000
    assert account.reserved == 0


async def test_where_estimates_fall_short_more_is_reserved_from_then_on(desk):
    made = desk(DAY)
    first, second = [(await made.ask("ann"))["budgets"]["reserved"] for _ in range(2)]
    assert (first, second) == (209, 1200)


async def test_runs_on_several_event_loops_share_the_accounts(desk):
    made = desk(DAY)
    for _ in range(2):
        await asyncio.to_thread(asyncio.run, made.ask("ann"))
    assert made.only().spent == 2400


async def test_accounts_that_cannot_be_used_let_no_call_through(desk, tmp_path):
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"this is no database, whatever its name says" * 100)
    made = desk(DAY, path=broken)
    with pytest.raises(StoreError) as caught:
        await made.ask("ann")
    assert caught.value.code == "budgets.file"
    assert made.model.calls == []
    broken.unlink()
    await made.ask("ann")
    assert made.only().spent == 1200


async def test_without_a_rule_that_fits_nothing_is_counted(desk):
    made = desk({"hard": "0", "match": {"user": "bot-*"}})
    await made.ask("ann")
    assert made.accounts() == {}
    with pytest.raises(LimitExceeded):
        await made.ask("bot-7")


async def test_the_seeds_legal_bot_has_72_rupees_a_day(desk):
    """₹72 a day for one user: ₹26,280 a year."""
    made = desk(
        {"per": ["user"], "period": "day", "hard": "72"},
        {"per": ["user"], "period": "year", "hard": "26280"},
        currency="INR",
        rates={"USD": "80"},
        script=[answer(tokens=(100_000, 100_000))],  # 0.30 USD: 24 rupees
    )
    for _ in range(3):
        await made.ask("lawyer", params={"max_tokens": 100_000})
    with pytest.raises(LimitExceeded, match=r"72\.00 spent of 72\.00 INR"):
        await made.ask("lawyer")
    assert made.accounts()["user/year", '["lawyer"]', "2026"].spent == 72_000_000


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({}, "needs a limit"),
        ({"hard": "1", "soft": "2"}, "soft one below"),
        ({"hard": "much"}, "no amount"),
        ({"hard": "1", "per": ["node"]}, "'node'"),
        ({"hard": "1", "period": "week"}, "'week'"),
        ({"hard": "1", "low_share": 2}, "low_share"),
        ({"hard": "1", "limit": 2}, "has no limit"),
    ],
)
def test_a_wrong_budget_is_a_clear_error(rule, problem):
    with pytest.raises(SetupError, match=problem) as caught:
        budget_of(rule)
    assert caught.value.code == "setup.budgets"


def test_a_wrong_time_zone_is_a_clear_error(tmp_path):
    with pytest.raises(SetupError, match="no time zone"):
        Budgets([], tmp_path / "b.db", timezone="Mars/North")


@pytest.mark.parametrize("priority", ["high", True, None])
async def test_a_priority_that_is_no_number_is_a_clear_error(desk, priority):
    made = desk(DAY)
    if priority is None:
        await made.ask(metadata={"priority": None})
        return
    with pytest.raises(SetupError, match="not a number"):
        await made.ask(metadata={"priority": priority})


@pytest.mark.parametrize(
    ("zone", "now", "period", "name", "then"),
    [
        ("UTC", "2026-12-31T23:59:59", "year", "2026", "2027-01-01T00:00:00"),
        ("UTC", "2026-01-31T10:00:00", "month", "2026-01", "2026-02-01T00:00:00"),
        ("Europe/Berlin", "2026-10-24T22:30:00", "day", "2026-10-25", "2026-10-25T23:00:00"),  # a day of 25 hours
        ("Asia/Kolkata", "2026-11-20T18:29:59", "day", "2026-11-20", "2026-11-20T18:30:00"),
    ],
)
def test_days_months_and_years_are_those_of_the_calendar(zone, now, period, name, then):
    at = datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp()
    assert span_of(period, at, ZoneInfo(zone)) == (name, datetime.fromisoformat(then).replace(tzinfo=UTC))
