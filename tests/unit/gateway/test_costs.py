"""What calls through the gateway cost, on real servers that misbehave; and the cheap way when money is short."""

import contextlib

import pytest
from langgraph.graph import START, MessagesState, StateGraph

import chainops
from chainops import App
from chainops.errors import LimitExceeded
from chainops.middleware.budgets import Budgets
from chainops.store.prices import add_price, entry_of
from chainops.store.reader import Reader, decode

pytest.importorskip("langchain_openai", reason="needs langchain-openai (the [openai] extra)")


@pytest.fixture
def db(tmp_path):
    path = tmp_path / "chainops.db"
    for model, rate in (("small", "1000"), ("large", "10000")):  # dollars for a million tokens: a cent for ten
        entry = entry_of(model, input=rate, output=rate)
        add_price(path, "own", entry, currency="USD", source="s", author="a")
    return path


@pytest.fixture
def desk(tmp_path, db):
    """``desk(servers, rules)``: an application with two models behind one name, and a graph that asks it."""

    def make(small, large, *rules, alias=None, **retry):
        models = {"small": {"url": small.url, "model": "m"}, "large": {"url": large.url, "model": "gpt-4o"}}
        app = App(
            pipeline={"middleware": ["trace", "budgets", "route", "retry", "cost"]},
            trace={"path": db},
            route={"models": models, "aliases": {"chat": alias or {"tiers": ["small", "large"]}}},
            retry={"first_s": 0.001, **retry},
            budgets={"path": tmp_path / "budgets.db", "rules": list(rules)},
        )

        async def ask(state):
            return {"messages": [await chainops.model("chat").ainvoke(state["messages"], max_tokens=10)]}

        builder = StateGraph(MessagesState)
        builder.add_node("ask", ask)
        builder.add_edge(START, "ask")
        return app, app.instrument(builder.compile())

    return make


@contextlib.asynccontextmanager
async def opened(app):
    """The application, and at the end its connections too: they belong to the loop of this test."""
    with app:
        yield app
        (route,) = (layer for layer in app.pipeline.middleware if layer.name == "route")
        for deployment in route.gateway.deployments.values():
            await deployment.model.root_async_client.close()


async def run(graph, text="Hello?", **metadata):
    return (await graph.ainvoke({"messages": [("user", text)]}, {"metadata": metadata}))["messages"][-1].text


def notes(db):
    """Annotations of model calls, in their order."""
    with Reader(db) as reader:
        spans = [span for one in reversed(reader.runs()) for span in reader.spans(one.id) if span.kind == "model"]
    return [decode(span.attributes) for span in spans]


def spent(tmp_path):
    budgets = Budgets([], tmp_path / "budgets.db", prices=None)
    accounts = budgets.file.accounts()
    budgets.close()
    return {(account.scope, account.key): (account.spent, account.reserved) for account in accounts}


LEGAL = "Draft a legal clause for this MOU"


async def test_a_call_is_priced_by_the_deployment_that_answered_after_another_failed(serve, desk, db, tmp_path):
    small, large = serve("a", "500", "500", "500"), serve("b")
    app, graph = desk(small, large, {"period": "year", "hard": "100"})
    async with opened(app):
        assert await run(graph) == "from b"
    (note,) = notes(db)
    assert note["route"]["deployment"] == "large"
    assert note["cost"] == {"micro": 70_000, "currency": "USD", "price": "own@2", "model": "large"}
    assert spent(tmp_path) == {("all/year", ""): (70_000, 0)}


async def test_what_an_alias_may_cost_is_reserved_by_its_dearest_deployment(serve, desk, db):
    app, graph = desk(serve("a"), serve("b"), {"period": "year", "hard": "100"})
    async with opened(app):
        await run(graph)
    (note,) = notes(db)
    assert note["route"]["deployment"] == "small"
    assert note["budgets"]["reserved"] == 10_000 * (2 + 8 + 10)
    assert note["cost"]["micro"] == 7_000


async def test_past_a_soft_budget_the_router_takes_the_small_model(serve, desk, db):
    app, graph = desk(serve("a"), serve("b"), {"per": ["user"], "period": "year", "soft": "0.35"})
    async with opened(app):
        answers = [await run(graph, LEGAL, user=user) for user in ("ann", "ann", "ann", "bob")]
    assert answers == ["from b", "from a", "from a", "from b"]
    assert [note["route"]["reason"] for note in notes(db)] == ["difficulty", "budget", "budget", "difficulty"]
    assert [note["cost"]["micro"] for note in notes(db)] == [70_000, 7_000, 7_000, 70_000]


async def test_past_a_hard_budget_no_server_is_asked_and_the_refusal_is_not_retried(serve, desk):
    small, large = serve("a"), serve("b")
    app, graph = desk(small, large, {"period": "year", "hard": "0.25"})
    async with opened(app):
        await run(graph)
        with pytest.raises(LimitExceeded) as caught:
            for _ in range(20):
                await run(graph)
    assert caught.value.retry_after_s > 0
    assert 1 <= len(small.requests) < 20
    assert large.requests == []


async def test_a_server_of_ones_own_has_no_list_price_whatever_its_model_is_called(serve, desk, db):
    import sqlite3

    app, graph = desk(serve("a", *["500"] * 3), serve("b"), {"period": "year", "hard": "100"})
    async with opened(app):
        app.pipeline.middleware[-1].books.names = ("genai-prices",)
        await run(graph)
    (note,) = notes(db)
    assert note["cost"] == {"unknown": "no price for 'large'"}
    with sqlite3.connect(db) as connection:
        assert connection.execute("SELECT count(*) FROM artifact WHERE name='genai-prices'").fetchone()[0] == 1


async def test_without_tiers_the_cheapest_deployment_is_the_cheap_way(serve, desk, db):
    app, graph = desk(
        serve("a"), serve("b"), {"period": "year", "soft": "0.3"}, alias={"deployments": ["large", "small"]}
    )
    (route,) = (layer for layer in app.pipeline.middleware if layer.name == "route")
    route.gateway.deployments["small"].cost, route.gateway.deployments["large"].cost = 1000.0, 10_000.0
    async with opened(app):
        assert [await run(graph) for _ in range(4)] == ["from b", "from b", "from a", "from a"]
    assert [note["route"]["reason"] for note in notes(db)] == ["order", "order", "budget", "budget"]
