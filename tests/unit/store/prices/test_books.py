"""Price books in a database: seeded without a network, added to, in force from a date."""

import threading
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from chainops.costing import Usage, check_book, cost_micro
from chainops.errors import SetupError
from chainops.store.artifacts import Artifacts
from chainops.store.prices import KIND, PriceBooks, add_price, entry_of, import_book, read_book, snapshot

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def db(tmp_path):
    return tmp_path / "chainops.db"


@pytest.fixture(scope="module")
def packaged():
    return snapshot(AT)


def add(db, model="m", source="contract 7", currency="USD", book="own", **price):
    return add_price(db, book, entry_of(model, **price), currency=currency, source=source, author="a")


def test_the_snapshot_is_a_price_book_with_date_currency_and_source(packaged):
    assert check_book(packaged) is packaged
    assert packaged["effective_from"] == "2026-11-21"
    assert packaged["currency"] == "USD"
    assert packaged["source"].startswith("genai-prices ")
    assert len(packaged["models"]) > 1000


def test_the_snapshot_prices_calls_as_genai_prices_does(packaged):
    """Every model of the package, with cached tokens, below and above the thresholds."""
    from genai_prices import Usage as Theirs
    from genai_prices.data import providers

    from chainops.costing import PriceBook, Unpriced

    book, compared = PriceBook("g", 1, packaged), 0
    for provider in providers:
        for model in provider.models:
            price = book.find(model.id, provider.id, at=AT)
            for tokens in (900, 300_000):
                theirs = Theirs(input_tokens=tokens, output_tokens=500, cache_read_tokens=100, cache_write_tokens=50)
                try:
                    micro = cost_micro(price.rates, Usage(input=tokens, output=500, cached=100, written=50))
                except (Unpriced, AttributeError):
                    continue
                wanted = model.calc_price(theirs, provider, genai_request_timestamp=AT).total_price
                assert abs(Decimal(micro) / 10**6 - wanted) <= Decimal("0.0000005"), (provider.id, model.id)
                compared += 1
    assert compared > 3000


def test_a_database_without_a_book_gets_the_snapshot_once(db):
    first, second = PriceBooks(db), PriceBooks(db)
    assert first.load().find(["gpt-4o"], at=AT.replace(year=2027)).ref == "genai-prices@1"
    assert second.load().books[0].ref == "genai-prices@1"
    assert import_book(db, "genai-prices", snapshot(), author="a")[1] is False


def test_own_prices_count_before_the_snapshot(db):
    add(db, "gpt-4o", input="9", output="9")
    found = PriceBooks(db).load().find(["gpt-4o"], "openai", at=datetime.now(UTC))
    assert (found.ref, found.rates["input"], found.source) == ("own@1", 9_000_000, "contract 7")


def test_a_version_holds_from_its_date(db):
    for day, rate in (("2026-01-01", 1), ("2027-01-01", 2)):
        content = {"currency": "USD", "source": "s", "effective_from": day}
        Artifacts(db).add(KIND, "b", {**content, "models": [{"model": "m", "prices": [{"input": rate}]}]}, author="a")
    for at, ref in ((AT, "b@1"), (AT.replace(year=2027), "b@2")):
        assert PriceBooks(db, ["b"], clock=at.timestamp).load().find(["m"], at=at).ref == ref


def test_a_later_version_is_seen_by_who_looks_again(db):
    books = PriceBooks(db, ["own"], max_age_s=0)
    add(db, "m", input="1")
    assert books.load().find(["m"], at=AT).ref == "own@1"
    add(db, "n", input="2")
    assert books.load().find(["n"], at=AT).ref == "own@2"
    assert books.load().find(["m"], at=AT).ref == "own@2"


def test_a_new_price_of_a_model_stands_beside_its_old_one(db):
    add(db, "m", input="1")
    add(db, "m", input="2", **{"from": "2027-01-01"})
    made = add(db, "m", hour="1.79", slots=2, **{"from": "2028-01-01"})
    (entry,) = made.value()["models"]
    assert [row.get("from") for row in entry["prices"]] == [None, "2027-01-01", "2028-01-01"]
    assert entry["prices"][-1] == {"from": "2028-01-01", "hour": 1_790_000, "slots": 2}


def test_a_book_has_one_currency(db):
    add(db, "m", input="1")
    with pytest.raises(SetupError, match="'own' is in USD, and this price in EUR") as caught:
        add(db, "n", currency="EUR", input="1")
    assert "own-eur" in caught.value.hint


def test_prices_that_are_added_at_once_are_all_kept(db):
    add(db, "first", input="1")
    threads = [threading.Thread(target=add, args=(db, f"m{i}"), kwargs={"input": str(i)}) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    prices = PriceBooks(db, ["own"]).load()
    kept = [name for name in ["first", *(f"m{i}" for i in range(12))] if prices.find([name], at=AT)]
    assert len(kept) == 13


def test_a_price_by_the_second_is_one_by_the_hour():
    assert entry_of("m", second="0.0005")["prices"] == [{"hour": 1_800_000}]


def test_a_file_has_amounts_in_units_and_stays_exact(tmp_path):
    file = tmp_path / "prices.toml"
    file.write_text(
        'currency = "EUR"\nsource = "bill"\neffective_from = 2026-12-01\n'
        '[[models]]\nmodel = "llama"\nhour = 1.79\nslots = 4\n'
        '[[models]]\nmodel = "gpt"\ninput = 0.15\noutput = "0.6"\n'
        '[[models]]\nmodel = "gpt"\ninput = 0.1\noutput = 0.6\nfrom = 2027-01-01\n'
    )
    book = read_book(file)
    assert (book["currency"], book["effective_from"]) == ("EUR", "2026-12-01")
    assert book["models"][0]["prices"] == [{"hour": 1_790_000, "slots": 4}]
    assert [row["input"] for row in book["models"][1]["prices"]] == [150_000, 100_000]


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("a.toml", "x = ", "cost.file"),
        ("a.toml", "x = 1", "cost.book"),
        ("a.json", "[", "cost.file"),
        ("a.json", "{}", "cost.book"),
        ("a.toml", "models = [1]", "cost.book"),
        ("a.toml", '[[models]]\nmodel = "m"\ninput = "cheap"', "cost.amount"),
        ("a.toml", '[[models]]\nmodel = "m"\ninput = 1', "cost.book"),
    ],
)
def test_a_file_that_is_no_price_book_is_a_clear_error(tmp_path, name, text, code):
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(SetupError) as caught:
        read_book(file)
    assert caught.value.code == code


def test_a_file_that_is_missing_is_a_clear_error(tmp_path):
    with pytest.raises(SetupError, match="Cannot read"):
        read_book(tmp_path / "none.toml")


def test_a_price_that_comes_back_is_in_force_again(db, tmp_path):
    for rate in ("1", "2", "1"):
        made = add(db, "m", input=rate)
    assert made.version == 3
    assert PriceBooks(db, ["own"]).load().find(["m"], at=AT).rates == {"input": 1_000_000}
    book = check_book(made.value())
    assert import_book(db, "own", {**book, "source": "other"}, author="a")[0].version == 4
    assert import_book(db, "own", book, author="a")[0].version == 5


def test_what_holds_in_spite_of_a_retired_version_is_the_one_before(db):
    add(db, "m", input="1")
    add(db, "m", input="2")
    Artifacts(db).retire(KIND, "own", 2, who="a", why="wrong")
    assert PriceBooks(db, ["own"]).load().find(["m"], at=AT).ref == "own@1"
    assert add(db, "n", input="3").version == 3
    assert PriceBooks(db, ["own"]).load().find(["m"], at=AT).rates == {"input": 1_000_000}
