"""The detector on a spaCy model that is trained here in seconds: its chain is what is tested, not a model's quality."""

from __future__ import annotations

import random
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph

from chainops import App, SetupError
from chainops.middleware.pii import Finding
from chainops.testing import ScriptedModel, check_plugin
from chainops_presidio import plugin
from chainops_presidio.detector import _outside

FIRST = ["Ann", "Boris", "Clara", "David", "Ella", "Felix", "Grace", "Hugo", "Ida", "Jonas"]
LAST = ["Miller", "Baker", "Hopper", "Weber", "Novak", "Silva", "Olsen", "Moreau", "Rossi", "Keller"]
TOWNS = ["Oslo", "Lisbon", "Prague", "Dublin", "Vienna", "Turin", "Ghent", "Basel", "Malmo", "Porto"]
FORMS = ["{p} lives in {l} .", "Please call {p} today .", "The train to {l} is late .", "{p} and {q} met in {l} ."]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that learnt the names and towns above."""
    spacy = pytest.importorskip("spacy", reason="needs spacy and presidio-analyzer: pip install ./plugins/presidio")
    pytest.importorskip("presidio_analyzer", reason="needs presidio-analyzer: pip install ./plugins/presidio")
    from spacy.training import Example

    chance = random.Random(7)
    spacy.util.fix_random_seed(7)
    made: Any = spacy.blank("en")
    made.add_pipe("ner")
    examples = []
    for form in FORMS * 20:
        words: list[str] = []
        spans = []
        for word in form.split():
            if word in ("{p}", "{q}"):
                name = f"{chance.choice(FIRST)} {chance.choice(LAST)}"
                spans.append((len(" ".join([*words, ""])), name, "PERSON"))
                words += name.split()
            elif word == "{l}":
                town = chance.choice(TOWNS)
                spans.append((len(" ".join([*words, ""])), town, "GPE"))
                words.append(town)
            else:
                words.append(word)
        entities = [(start, start + len(name), label) for start, name, label in spans]
        examples.append(Example.from_dict(made.make_doc(" ".join(words)), {"entities": entities}))
    made.initialize(lambda: examples)
    for _ in range(12):
        for batch in spacy.util.minibatch(examples, 8):
            made.update(batch)
    folder = tmp_path_factory.mktemp("model") / "names"
    made.to_disk(folder)
    return folder


def detector(model: Path, **options: Any) -> Any:
    return plugin.detectors["names"](plugin.check_options({"model": str(model), **options}))


def found(detector: Any, text: str) -> list[tuple[str, str, float]]:
    return sorted((text[f.start : f.end], f.kind, f.score) for f in detector.find(text))


def test_names_and_places_are_found_where_they_stand(model: Path) -> None:
    assert found(detector(model), "Grace Hopper lives in Lisbon .") == [
        ("Grace Hopper", "PERSON", 0.85),
        ("Lisbon", "LOCATION", 0.85),
    ]
    assert found(detector(model, entities=["PERSON"], score=0.6), "Grace Hopper lives in Lisbon .") == [
        ("Grace Hopper", "PERSON", 0.6)
    ]
    assert found(detector(model), "12 + 30 = 42") == []


def test_a_placeholder_is_no_name_and_what_stands_beside_it_is_found(model: Path) -> None:
    assert found(detector(model), "<PERSON_1> lives in <LOCATION_1> .") == []
    assert ("Lisbon", "LOCATION", 0.85) in found(detector(model), "<PERSON_1> lives in Lisbon .")
    text = "Ann <PERSON_1> Miller"
    pieces = list(_outside(Finding(0, len(text), "PERSON", 0.85), text))
    assert [text[p.start : p.end] for p in pieces] == ["Ann ", " Miller"]
    assert list(_outside(Finding(5, 9, "PERSON", 0.85), text)) == []


async def test_the_model_sees_placeholders_and_the_person_sees_names(
    model: Path, tmp_path: Path, installed_plugin: Any
) -> None:
    chat = ScriptedModel([lambda messages: f"You wrote: {messages[-1].text}"])

    async def answer(state: MessagesState) -> Any:
        return {"messages": [await chat.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    with App(
        pipeline={"middleware": ["trace", "pii"]},
        plugins={"presidio": {"model": str(model)}},
        pii={"persist": False, "detectors": ["presidio"]},
        trace={"path": str(tmp_path / "t.db")},
    ) as application:
        graph = application.instrument(builder.compile())
        state = await graph.ainvoke({"messages": ["Grace Hopper lives in Lisbon ."]})
    assert chat.calls[0][-1].text == "<PERSON_1> lives in <LOCATION_1> ."
    assert state["messages"][-1].text == "You wrote: Grace Hopper lives in Lisbon ."
    written = b"".join(file.read_bytes() for file in tmp_path.glob("t.db*"))
    assert b"Hopper" not in written and b"Lisbon" not in written


def test_many_threads_find_the_same(model: Path) -> None:
    shared, texts = detector(model), [f"{first} Miller lives in Oslo ." for first in FIRST]
    alone = [found(shared, text) for text in texts]
    got: list[Any] = [None] * len(texts)

    def work(i: int) -> None:
        got[i] = found(shared, texts[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert got == alone and all(alone)


def test_nothing_is_fetched(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError(f"it went to the network: {args}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert found(detector(model), "Write to ann@example.com or Grace Hopper .")
    with pytest.raises(SetupError, match="There is no spaCy model 'en_core_web_none'"):
        detector(Path("en_core_web_none"))


def test_a_model_that_knows_nothing_of_what_is_wanted_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="finds no NRP; it finds LOCATION, PERSON"):
        detector(model, entities=["NRP"])
    assert found(detector(model, entities=["PLACE"], labels={"GPE": "PLACE"}), "The train to Oslo is late .") == [
        ("Oslo", "PLACE", 0.85)
    ]
    (tmp_path / "meta.json").write_text("{}")
    with pytest.raises(SetupError, match="cannot be loaded"):
        detector(tmp_path)


async def test_everything_that_the_plugin_brings_passes_its_checks() -> None:
    assert [finding for finding in await check_plugin(plugin) if not finding.passed] == []
