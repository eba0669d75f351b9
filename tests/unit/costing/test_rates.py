"""What a call costs, in whole micro-units."""

import pytest

from chainops.costing import Unpriced, Usage, cost_micro
from chainops.errors import SetupError

GPT = {"input": 150_000, "cached_input": 75_000, "output": 600_000}


def test_cached_input_is_priced_apart_and_the_rest_as_input():
    # 600 x 0.15 + 400 x 0.075 + 100 x 0.60 per million tokens
    assert cost_micro(GPT, Usage(input=1000, cached=400, output=100)) == 90 + 30 + 60


def test_reasoning_has_its_own_rate_only_where_the_price_names_one():
    usage = Usage(input=0, output=1000, reasoning=800)
    assert cost_micro(GPT, usage) == 600
    assert cost_micro({**GPT, "reasoning": 1_200_000}, usage) == 120 + 960


def test_what_is_written_into_the_cache_for_an_hour_falls_back_to_the_price_of_writing_and_then_to_input():
    usage = Usage(input=1000, written=200, written_1h=300)
    assert cost_micro(GPT, usage) == 150
    assert cost_micro({**GPT, "cache_write": 1_000_000}, usage) == 75 + 500
    assert cost_micro({**GPT, "cache_write": 1_000_000, "cache_write_1h": 2_000_000}, usage) == 75 + 200 + 600


def test_parts_that_overlap_are_paid_for_once():
    assert cost_micro(GPT, Usage(input=100, cached=150)) == round(100 * 0.075 + 0.1)


@pytest.mark.parametrize(("tokens", "micro"), [(200_000, 400_000), (200_001, 800_004)])
def test_more_input_than_a_threshold_changes_the_rate_of_all_tokens(tokens, micro):
    rates = {"input": {"base": 2_000_000, "over": [[200_000, 4_000_000]]}, "output": 0}
    assert cost_micro(rates, Usage(input=tokens)) == micro


def test_a_machine_of_ones_own_is_paid_by_the_hour_shared_by_its_slots():
    assert cost_micro({"hour": 1_790_000}, None, seconds=3600) == 1_790_000
    assert cost_micro({"hour": 1_790_000, "slots": 4}, None, seconds=3600) == 447_500
    assert cost_micro({"hour": 1_790_000}, None, seconds=0.0071) == 4  # 3.53 rounded once


def test_energy_is_paid_by_the_kwh_at_the_watts_that_are_drawn():
    # 300 W for two hours are 0.6 kWh
    assert cost_micro({"kwh": 300_000, "watts": 300}, None, seconds=7200) == 180_000


def test_calls_may_have_a_price_beside_their_tokens():
    assert cost_micro({"thousand_calls": 5_000_000, **GPT}, Usage(input=1000)) == 5_000 + 150


def test_what_has_no_price_is_unknown_and_not_zero():
    with pytest.raises(Unpriced, match="no usage"):
        cost_micro(GPT, None)
    with pytest.raises(Unpriced, match="none for output tokens"):
        cost_micro({"input": 100}, Usage(input=5, output=1))
    assert cost_micro({"input": 100_000}, Usage(input=50)) == 5


def test_a_price_of_zero_is_a_price():
    assert cost_micro({"input": 0, "output": 0}, Usage(input=9, output=9)) == 0


def test_the_seeds_annual_report_costs_what_the_seed_says():
    # 0.0015 USD and 0.002 USD per thousand tokens
    assert cost_micro({"input": 1_500_000, "output": 2_000_000}, Usage(input=75_000, output=1_562)) == 115_624


def test_usage_of_a_langchain_message_names_the_parts():
    from langchain_core.messages import AIMessage

    told = {
        "input_tokens": 100,
        "output_tokens": 50,
        "total_tokens": 150,
        "input_token_details": {"cache_read": 30, "cache_creation": 20, "ephemeral_1h_input_tokens": 5, "audio": 1},
        "output_token_details": {"reasoning": 40, "audio": 2},
    }
    usage = Usage.of(AIMessage("x", usage_metadata=told))
    assert usage == Usage(100, 50, cached=30, written=15, written_1h=5, input_audio=1, reasoning=40, output_audio=2)
    assert Usage.of(AIMessage("x")) is None


@pytest.mark.parametrize("wrong", ["-1", "abc", "nan", "inf", "0.00000001", True, None])
def test_an_amount_that_is_none_is_a_clear_error(wrong):
    from chainops.costing import micro_of

    with pytest.raises(SetupError, match=r"amount|millionths") as caught:
        micro_of(wrong)
    assert caught.value.code == "cost.amount"


def test_amounts_read_well():
    from chainops.costing import amount

    assert [amount(n, "USD") for n in (0, 1_500, 72_000_000, 26_280_000_000)] == [
        "0.00 USD",
        "0.0015 USD",
        "72.00 USD",
        "26,280.00 USD",
    ]
