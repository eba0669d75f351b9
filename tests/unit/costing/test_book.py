"""Price books: which entry a name means, and when it holds."""

from datetime import UTC, datetime

import pytest

from chainops.costing import PriceBook, check_book
from chainops.errors import SetupError

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def book(*models, **more):
    content = {"currency": "USD", "source": "test", "effective_from": "2026-01-01", "models": list(models), **more}
    return PriceBook("b", 1, check_book(content))


def test_a_price_holds_from_its_date_on():
    found = book({"model": "m", "prices": [{"input": 1}, {"from": "2026-06-01", "input": 2}]})
    assert found.find("m", at=datetime(2026, 5, 31, 23, 59, tzinfo=UTC)).rates == {"input": 1}
    assert found.find("m", at=datetime(2026, 6, 1, tzinfo=UTC)).rates == {"input": 2}


def test_before_its_first_date_a_model_has_no_price():
    found = book({"model": "m", "prices": [{"from": "2027-01-01", "input": 1}]})
    assert found.find("m", at=NOW) is None


def test_prices_may_hold_at_some_hours_of_the_day():
    found = book({"model": "m", "prices": [{"input": 2}, {"daily": ["16:30", "00:30"], "input": 1}]})
    assert [found.find("m", at=NOW.replace(hour=h)).rates["input"] for h in (12, 17, 0, 1)] == [2, 1, 1, 2]


def test_names_are_matched_in_any_case_and_by_clauses():
    entry = {"model": "m", "match": {"or": [{"equals": "m"}, {"starts_with": "m-20"}]}, "prices": [{"input": 1}]}
    found = book(entry)
    assert all(found.find(name, at=NOW) for name in ("m", "M", "m-2026-01-01"))
    assert found.find("mm", at=NOW) is None


def test_of_a_provider_only_its_own_models_and_those_of_nobody_are_meant():
    found = book(
        {"model": "a", "provider": "x", "prices": [{"input": 1}]},
        {"model": "b", "prices": [{"input": 2}]},
        providers=[{"id": "x", "match": {"starts_with": "a"}}, {"id": "y", "also": ["x"]}],
    )
    assert found.find("a", "x", at=NOW).provider == "x"
    assert found.find("a", "y", at=NOW).provider == "x"
    assert found.find("a", "z", at=NOW) is None
    assert found.find("a", "", at=NOW) is None, "a list price says nothing of a model that one runs oneself"
    assert found.find("a", None, at=NOW).provider == "x", "nobody else's models have such names"
    assert found.find("b", "z", at=NOW).model == "b"


def test_the_service_tier_may_change_single_rates():
    entry = {"model": "m", "prices": [{"input": 4, "output": 8}]}
    entry["variants"] = [{"when": {"service_tier": "flex"}, "rates": {"input": 2}}]
    found = book(entry)
    assert found.find("m", at=NOW, context={"service_tier": "flex"}).rates == {"input": 2, "output": 8}
    assert found.find("m", at=NOW, context={"service_tier": "default"}).rates == {"input": 4, "output": 8}


def test_every_mistake_of_a_book_is_named():
    content = {
        "currency": "dollar",
        "source": " ",
        "effective_from": "soon",
        "models": [
            {"model": "m", "prices": [{"input": 0.5}]},
            {"model": "n", "prices": [{"kwh": 3}, {"watts": 3}], "prise": 1},
            {"prices": []},
        ],
    }
    with pytest.raises(SetupError) as caught:
        check_book(content)
    message = caught.value.message
    for part in ("dollar", "source", "soon", "input is 0.5", "needs watts", "nothing that is paid", "prise", "no name"):
        assert part in message, part
    assert caught.value.code == "cost.book"


@pytest.mark.parametrize("content", [None, [], {}, {"models": 3}])
def test_what_is_no_book_is_a_clear_error(content):
    with pytest.raises(SetupError, match="no price book"):
        check_book(content)
