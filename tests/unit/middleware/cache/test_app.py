"""The cache from settings, in a traced application."""

from typing import TypedDict

import pytest
from langgraph.graph import START, StateGraph

from chainops import App
from chainops.store.reader import Reader
from chainops.testing import ScriptedModel


class State(TypedDict):
    said: str


@pytest.fixture
def graph():
    model = ScriptedModel(["one two"]).bind(temperature=0)

    async def answer(state):
        return {"said": (await model.ainvoke("hi")).text}

    builder = StateGraph(State)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    compiled = builder.compile()
    compiled.model = model.bound
    return compiled


def settings(tmp_path, **more):
    return {
        "pipeline": {"middleware": ["trace", "prompts", "cache"]},
        "trace": {"path": tmp_path / "trace.db"},
        "cache": {"directory": tmp_path / "cache", "tenant_key": "customer"},
        **more,
    }


def annotations(tmp_path, kind):
    with Reader(tmp_path / "trace.db") as reader:
        found = [span.to_json() for run in reader.runs() for span in reader.spans(run.id) if span.kind == kind]
    return [span["attributes"]["cache"] for span in found if "cache" in (span["attributes"] or {})]


async def test_a_hit_is_a_span_with_what_it_saved(graph, tmp_path):
    with App(**settings(tmp_path)) as app:
        for customer in ("a", "a", "b"):
            try:
                await app.instrument(graph).ainvoke({"said": ""}, {"metadata": {"customer": customer}})
            except Exception as error:
                assert customer == "b", error  # the script has one line: the model was asked again
    found = annotations(tmp_path, "model")
    assert len(graph.model.calls) == 2
    (hit,) = [cache for cache in found if cache.get("kind") == "exact"]
    assert set(hit) == {"kind", "key", "age_s", "saved_tokens", "saved_ms", "saved_micro"}
    assert hit["saved_tokens"] == 3
    assert hit["key"] in {cache["key"] for cache in found if cache.get("stored")}


async def test_another_process_finds_what_the_application_stored_when_it_was_closed(graph, tmp_path):
    for _ in range(2):
        with App(**settings(tmp_path)) as app:
            assert (await app.instrument(graph).ainvoke({"said": ""}))["said"] == "one two"
    assert len(graph.model.calls) == 1


async def test_other_settings_of_another_layer_are_other_keys(graph, tmp_path):
    for label in ("prod", "prod", "canary"):
        with App(**settings(tmp_path, prompts={"label": label})) as app:
            try:
                await app.instrument(graph).ainvoke({"said": ""})
            except Exception as error:
                assert label == "canary", error
    assert len(graph.model.calls) == 2
