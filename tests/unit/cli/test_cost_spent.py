"""``chainops cost daily``, ``by``, ``top`` and ``savings``, on real trace files."""

import json
from datetime import UTC, datetime

import pytest

from chainops.cli.cost import app
from chainops.errors import SetupError, StoreError
from chainops.store.prices import add_price, entry_of

COST = {"currency": "USD", "price": "own@1", "model": "gpt-4"}


@pytest.fixture
def spend(store):
    """``spend(micro, model=..., at=..., user=...)``: one run with one model call."""
    count = 0

    def make(micro, *, model="gpt-4", at="2024-06-26T13:20:00", user=None, graph="shop", meta=None, notes=None, **cost):
        nonlocal count
        count += 1
        metadata = {**({"user": user} if user else {}), **(meta or {})}
        run = store.run(f"0198aaaa-0000-7000-8000-{count:012d}", graph=graph, metadata=metadata)
        run.start_ns = int(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()) * 10**9
        root = store.span(run, kind="run", name=graph, status="open")
        root.clock = run.clock
        note = {"cost": {**COST, **({"micro": micro} if micro is not None else {}), **cost}} if micro != "none" else {}
        attributes = {**note, **(notes or {})}
        span = store.span(
            run,
            root,
            kind="model",
            name=model,
            path="answer",
            status="open",
            model=model,
            attributes=attributes,
            tokens_in=1000,
            tokens_out=100,
            tokens_cached=200,
        )
        span.clock = run.clock
        store.end(span)
        store.end(root)
        store.writer.flush()

    return make


@pytest.fixture
def ask(cli):
    return lambda *words: cli(app, *words)


def test_daily_has_the_shape_of_the_seeds(spend, ask):
    spend(10_000)
    spend(5_000)
    spend(1_000_000, at="2024-06-27T00:00:00", model="gpt-3.5")
    found = json.loads(ask("daily", "--json").stdout)
    assert found == {
        "daily_cost": [
            {"timestamp": 1719360000, "line_items": [{"model": "gpt-4", "cost": 0.015}]},
            {"timestamp": 1719446400, "line_items": [{"model": "gpt-3.5", "cost": 1.0}]},
        ]
    }


def test_days_begin_where_the_person_is(spend, ask):
    spend(10_000, at="2024-06-26T18:29:59")
    spend(20_000, at="2024-06-26T18:30:00")
    found = json.loads(ask("daily", "--timezone", "Asia/Kolkata", "--json").stdout)["daily_cost"]
    assert [day["line_items"][0]["cost"] for day in found] == [0.01, 0.02]
    assert [day["timestamp"] % 86_400 for day in found] == [18.5 * 3600] * 2


def test_since_and_until_choose_days(spend, ask):
    for day in (25, 26, 27):
        spend(day * 1000, at=f"2024-06-{day}T12:00:00")
    found = json.loads(ask("daily", "--since", "2024-06-26", "--until", "2024-06-27", "--json").stdout)
    assert [item["cost"] for day in found["daily_cost"] for item in day["line_items"]] == [0.026]


def test_what_is_not_known_is_said_and_never_counted_as_zero(spend, ask):
    spend(10_000)
    spend(None, unknown="no price for 'x'", model="x")
    result = ask("daily", "--json")
    assert [item["model"] for item in json.loads(result.stdout)["daily_cost"][0]["line_items"]] == ["gpt-4"]
    assert "the cost of 1 calls is not known" in result.stderr
    assert "?" in ask("daily").stdout
    rows = {row["model"]: row for row in json.loads(ask("by", "model", "--json").stdout)}
    assert (rows["x"]["cost"], rows["x"]["unknown"]) == (None, 1)


def test_known_and_unknown_calls_of_one_model_stand_in_one_row(spend, ask):
    spend(10_000)
    spend(None, unknown="cut")
    spend("none")
    (row,) = json.loads(ask("by", "model", "--json").stdout)
    assert (row["calls"], row["unknown"], row["micro"], row["currency"]) == (3, 2, 10_000, "USD")
    assert "0.01 + ?" in ask("by", "model").stdout


@pytest.mark.parametrize(
    ("dimension", "values"),
    [
        ("model", {"gpt-4": 3000, "m": 4000}),
        ("user", {"ann": 3000, "bob": 4000}),
        ("chain", {"shop": 3000, "desk": 4000}),
        ("node", {"answer": 7000}),
        ("price", {"own@1": 7000}),
        ("meta:team", {"blue": 1000, None: 6000}),
        ("deployment", {"rack": 4000, None: 3000}),
    ],
)
def test_costs_are_shown_by_any_dimension(spend, ask, dimension, values):
    spend(1000, user="ann", meta={"team": "blue"})
    spend(2000, user="ann")
    spend(4000, user="bob", model="m", graph="desk", notes={"route": {"deployment": "rack"}})
    rows = json.loads(ask("by", dimension, "--json").stdout)
    assert {row[dimension]: row["micro"] for row in rows} == values
    assert [row["micro"] for row in rows] == sorted(values.values(), reverse=True)
    assert rows[0]["out_per_in"] == 0.1
    assert "0.10" in ask("by", dimension).stdout


def test_an_answer_from_the_cache_is_no_call(spend, ask):
    spend(1000)
    spend("none", notes={"cache": {"kind": "exact", "saved_micro": 1000}})
    (row,) = json.loads(ask("by", "model", "--json").stdout)
    assert (row["calls"], row["unknown"]) == (1, 0)


@pytest.mark.parametrize("dimension", ["colour", 'meta:a"b'])
def test_an_unknown_dimension_is_a_clear_error(spend, ask, dimension):
    spend(1000)
    with pytest.raises(SetupError) as caught:
        ask("by", dimension)
    assert caught.value.code == "cost.dimension"


def test_the_dearest_runs_and_calls(spend, ask):
    for micro in (1000, 9000, 5000):
        spend(micro, user=f"u{micro}")
    rows = json.loads(ask("top", "--limit", "2", "--json").stdout)
    assert [(row["user"], row["micro"]) for row in rows] == [("u9000", 9000), ("u5000", 5000)]
    call = json.loads(ask("top", "--what", "call", "--json").stdout)[0]
    assert (call["model"], call["node"], call["micro"]) == ("gpt-4", "answer", 9000)
    assert "0.009 USD" in ask("top").stdout
    with pytest.raises(SetupError):
        ask("top", "--what", "day")


def test_costs_in_several_currencies_are_never_added_up(spend, ask):
    spend(1000)
    spend(2000, currency="EUR")
    with pytest.raises(SetupError, match="EUR and USD"):
        ask("daily")
    found = json.loads(ask("daily", "--currency", "EUR", "--json").stdout)
    assert found["daily_cost"][0]["line_items"] == [{"model": "gpt-4", "cost": 0.002}]


def test_what_each_middleware_saved(spend, ask, path):
    add_price(path, "own", entry_of("gpt-4", input="10", output="30"), currency="USD", source="s", author="a")
    hit = {"saved_tokens": 1100, "saved_ms": 800.0, "saved_micro": 15_000}
    spend("none", notes={"cache": {"kind": "exact", **hit}})
    spend("none", notes={"cache": {"kind": "exact", **hit}})
    spend("none", notes={"cache": {"kind": "semantic", **hit}})
    spend(1000, notes={"compress": {"tokens_before": 5000, "tokens_after": 1000}})
    spend(1000, notes={"compress": {"tokens_before": 500, "tokens_after": 500}})
    rows = {row["layer"]: row for row in json.loads(ask("savings", "--json").stdout)}
    assert (rows["cache"]["calls"], rows["cache"]["micro"], rows["cache"]["ms"]) == (2, 30_000, 1600.0)
    assert rows["semantic_cache"]["tokens"] == 1100
    assert (rows["compress"]["calls"], rows["compress"]["tokens"], rows["compress"]["micro"]) == (1, 4000, 40_000)
    assert list(rows) == ["compress", "cache", "semantic_cache"]
    assert "0.04 USD" in ask("savings").stdout


@pytest.mark.parametrize("command", ["daily", "top", "savings"])
def test_a_file_without_calls_says_so(store, ask, command):
    store.run("0198aaaa-0000-7000-8000-000000000001")
    store.span(store.run("0198aaaa-0000-7000-8000-000000000001"), kind="run")
    store.writer.flush()
    result = ask(command)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr


@pytest.mark.parametrize(
    ("words", "code"), [(["--since", "soon"], "cost.date"), (["--timezone", "Mars"], "setup.args")]
)
def test_wrong_options_are_mistakes_of_the_person(spend, ask, words, code):
    spend(1000)
    with pytest.raises(SetupError) as caught:
        ask("daily", *words)
    assert caught.value.code == code


def test_a_missing_file_is_a_clear_error(ask):
    with pytest.raises(StoreError, match="no trace file"):
        ask("daily")


def test_a_trace_shows_what_a_call_cost(spend, store, cli):
    from chainops.cli.trace import app as trace

    spend(1500)
    assert "0.0015 USD" in cli(trace, "show", "last").stdout
