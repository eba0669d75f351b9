"""Budgets from settings, in a traced application."""

import orjson
import pytest
from langgraph.graph import START, MessagesState, StateGraph

from chainops import App
from chainops.errors import LimitExceeded, SetupError
from chainops.store.prices import add_price, entry_of
from chainops.store.reader import Reader
from chainops.testing import ScriptedModel

from ..cost.conftest import answer


def settings(tmp_path, *layers):
    return {
        "pipeline": {"middleware": ["trace", *layers]},
        "trace": {"path": tmp_path / "chainops.db"},
        "cost": {"books": ["own"]},
        "budgets": {
            "path": tmp_path / "budgets.db",
            "rules": [{"per": ["tenant", "user"], "period": "day", "hard": "0.002", "soft": 0.001}],
        },
    }


@pytest.mark.parametrize("sync", [False, True])
async def test_a_graph_stops_at_its_budget_and_the_trace_says_why(tmp_path, sync):
    add_price(
        tmp_path / "chainops.db",
        "own",
        entry_of("scripted", input="1", output="2"),
        currency="USD",
        source="s",
        author="a",
    )
    model = ScriptedModel([answer()], repeat=True)

    async def ask(state):
        return {"messages": [await model.ainvoke("hi", max_tokens=100)]}

    def ask_sync(state):
        return {"messages": [model.invoke("hi", max_tokens=100)]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask_sync if sync else ask)
    builder.add_edge(START, "ask")
    config = {"metadata": {"user": "ann", "tenant": "acme"}}
    with App(**settings(tmp_path, "budgets", "cost")) as app:
        graph = app.instrument(builder.compile())

        async def run():
            return graph.invoke({"messages": []}, config) if sync else await graph.ainvoke({"messages": []}, config)

        await run()
        with pytest.raises(LimitExceeded, match="user 'ann' of tenant 'acme'"):
            await run()
    with Reader(tmp_path / "chainops.db") as reader:
        spans = [span for run in reader.runs() for span in reader.spans(run.id) if span.kind == "model"]
    by_status = {span.status: orjson.loads(span.attributes) for span in spans}
    assert by_status["ok"]["budgets"]["left"] == 2000 - by_status["ok"]["budgets"]["reserved"]
    assert by_status["blocked"]["budgets"]["refused"] == "tenant+user/day"


def test_budgets_without_costs_are_a_mistake_that_is_found_at_once(tmp_path):
    with pytest.raises(SetupError, match="none in the pipeline") as caught:
        App(**settings(tmp_path, "budgets"))
    assert caught.value.code == "setup.budgets"
