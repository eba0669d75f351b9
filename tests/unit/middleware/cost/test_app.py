"""The cost layer from settings, in a traced application."""

import orjson
from langgraph.graph import START, MessagesState, StateGraph

from chainops import App
from chainops.store.reader import Reader
from chainops.testing import ScriptedModel

from .conftest import answer


async def test_the_span_of_a_model_call_has_its_cost_and_a_cache_hit_what_it_saved(tmp_path, price):
    price("scripted", input="1", output="2")
    model = ScriptedModel([answer()])

    async def ask(state):
        return {"messages": [await model.bind(temperature=0).ainvoke("hi")]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    settings = {
        "pipeline": {"middleware": ["trace", "cache", "cost"]},
        "trace": {"path": tmp_path / "chainops.db"},
        "cache": {"directory": tmp_path / "cache"},
        "cost": {"books": ["own"]},
    }
    with App(**settings) as app:
        graph = app.instrument(builder.compile())
        for _ in range(2):
            await graph.ainvoke({"messages": []})
    with Reader(tmp_path / "chainops.db") as reader:
        spans = [span for run in reader.runs() for span in reader.spans(run.id) if span.kind == "model"]
    paid, saved = sorted((orjson.loads(span.attributes) for span in spans), key=lambda found: "cost" not in found)
    assert paid["cost"] == {"micro": 1200, "currency": "USD", "price": "own@1", "model": "scripted"}
    assert saved["cache"]["saved_micro"] == 1200
    assert "cost" not in saved
