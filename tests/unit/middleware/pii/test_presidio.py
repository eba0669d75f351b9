"""Presidio as a detector: names and places, by a model from a folder."""

from __future__ import annotations

import sys

import pytest
from langchain_core.messages import HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

import chainops
from chainops.errors import MissingExtra, SetupError
from chainops.middleware.pii import PatternDetector, Pii, Scanner
from chainops.middleware.pii.presidio import Presidio
from chainops.pipeline import Pipeline
from chainops.testing import ScriptedModel


class Result:
    def __init__(self, kind, start, end, score):
        self.entity_type, self.start, self.end, self.score = kind, start, end, score


class Analyzer:
    """Speaks Presidio's interface."""

    def analyze(self, text, language, entities=None):
        assert language == "en"
        return [Result("EMAIL_ADDRESS", 0, 3, 1.0), Result("GPE", 4, 6, 0.85)]


def test_findings_have_the_names_of_this_layer_and_are_never_surer_than_a_checksum():
    found = list(Presidio(Analyzer()).find("abc de"))
    assert [(f.kind, f.start, f.end, f.score) for f in found] == [("EMAIL", 0, 3, 0.99), ("LOCATION", 4, 6, 0.85)]


def test_without_the_package_the_hint_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(MissingExtra) as error:
        Presidio.from_folder(tmp_path)
    assert "chainops[presidio]" in error.value.hint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("presidio_analyzer", reason="presidio-analyzer is not installed")
    spacy = pytest.importorskip("spacy", reason="spacy is not installed")
    model = spacy.blank("en")
    rules = model.add_pipe("entity_ruler")
    names = [("PERSON", "Grace Hopper"), ("GPE", "Arlington"), ("ORG", "Navy")]
    rules.add_patterns([{"label": label, "pattern": name} for label, name in names])
    place = tmp_path_factory.mktemp("models") / "names"
    model.to_disk(place)
    return place


def test_a_model_from_a_folder_finds_names_and_places(folder):
    scanner = Scanner([PatternDetector(), Presidio.from_folder(folder)])
    text = "Grace Hopper of the Navy, grace@navy.example, is in Arlington"
    assert [(f.kind, text[f.start : f.end]) for f in scanner.find(text)] == [
        ("PERSON", "Grace Hopper"),
        ("EMAIL", "grace@navy.example"),
        ("LOCATION", "Arlington"),
    ]


async def test_in_a_graph_names_become_placeholders_and_streams_are_restored(folder):
    model = ScriptedModel([lambda messages: f"Hello {messages[-1].text}"], repeat=True)

    async def answer(state):
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    pii = Pii(detectors=[Presidio.from_folder(folder)])
    graph = chainops.instrument(builder.compile(), Pipeline([pii]))
    asked = {"messages": [HumanMessage("Grace Hopper in Arlington")]}
    parts = [m.text async for m, _ in graph.astream(asked, stream_mode="messages")]
    assert "".join(parts) == "Hello Grace Hopper in Arlington"
    assert model.calls[0][0].text == "<PERSON_1> in <LOCATION_1>"


@pytest.mark.parametrize("make", ["nothing", "file", "empty", "blank"])
def test_a_folder_without_such_a_model_is_a_clear_mistake(folder, tmp_path, make):
    import spacy

    place = tmp_path / "model"
    if make == "file":
        place.write_text("x")
    elif make == "empty":
        place.mkdir()
    elif make == "blank":
        spacy.blank("en").to_disk(place)
    with pytest.raises(SetupError) as error:
        Presidio.from_folder(place)
    assert error.value.code == "setup.pii_model"


def test_settings_take_the_folder(folder):
    app = chainops.App(pipeline={"middleware": ["pii"]}, pii={"persist": False, "names_model": folder})
    with app:
        (pii,) = (layer for layer in app.pipeline.middleware if isinstance(layer, Pii))
        assert [f.kind for f in pii.scanner.find("Grace Hopper")] == ["PERSON"]
