from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from chainops.cli.chain import app
from chainops.errors import ChainopsError
from chainops.store.artifacts import Artifacts
from chainops.store.reader import Reader
from chainops.store.writer import flush_writers

APP = """
import chainops
from pathlib import Path
from typing import Annotated
from typing_extensions import TypedDict
from operator import add
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from chainops import Pipeline, instrument
from chainops.middleware.chain import Chain
from chainops.middleware.prompts import Prompts
from chainops.middleware.trace import Trace

DB = Path(__file__).parent / "chain.db"
SUFFIX = "!"

class State(TypedDict):
    said: Annotated[list[str], add]

def answer(state):
    return {"said": [chainops.prompt("ask").render().text + SUFFIX + str(len(state["said"]))]}

def app():
    builder = StateGraph(State)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    trace = Trace(DB)
    graph = builder.compile(checkpointer=InMemorySaver(), name="desk")
    made = instrument(graph, Pipeline([trace, Chain(DB), Prompts(DB, max_age_s=0)]))
    made.trace = trace
    return made
"""


class Place:
    def __init__(self, folder: Path, cli: Any) -> None:
        self.folder, self.cli, self.db = folder, cli, folder / "chain.db"
        (folder / "app.py").write_text(APP)
        store = Artifacts(self.db)
        for text in ("one", "two"):
            store.add("prompt", "ask", {"messages": [{"role": "user", "template": text}]}, author="ann")
        self.promote(1)

    def promote(self, version: int) -> None:
        Artifacts(self.db).move("prompt", "ask", "prod", version, who="ann")

    def answer(self, thread: str = "t") -> list[str]:
        from chainops.cli.loading import load_graph

        graph = load_graph(str(self.folder))
        said = []
        for _ in range(2):
            said = graph.invoke({"said": ["hi"]}, {"configurable": {"thread_id": thread}})["said"]
        graph.trace.close()
        return said  # type: ignore[no-any-return]

    def run(self, *words: Any, code: int = 0) -> str:
        result = self.cli(app, *words, db=self.db)
        assert result.exit_code == code, result.output
        return result.stdout  # type: ignore[no-any-return]


@pytest.fixture
def place(tmp_path: Path, cli: Any, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(sys, "path", list(sys.path))
    return Place(tmp_path, cli)


def test_a_stored_run_comes_out_the_same_on_the_versions_that_it_ran_on(place: Place) -> None:
    assert place.answer() == ["hi", "one!1", "hi", "one!3"]
    place.promote(2)
    found = json.loads(place.run("reproduce", "last", "--app", place.folder, "--json"))
    assert (found["same"], found["changed"], found["chain"]) == (True, [], "desk@1")
    assert found["now"]["said"][-1] == "one!3"


def test_a_run_that_comes_out_otherwise_is_said_with_what_changed(place: Place) -> None:
    place.answer()
    # of another size: byte code of the same size and second would count as the old one's
    (place.folder / "app.py").write_text(APP.replace('SUFFIX = "!"', 'SUFFIX = "?"  # now'))
    out = place.run("reproduce", "last", "--app", f"{place.folder}:app", code=1)
    assert "something else comes out" in out and '+    "one?3"' in out
    found = json.loads(place.run("reproduce", "last", "--app", place.folder, "--json", code=1))
    assert found["changed"] == ["node answer: its code, or what it uses, changed"]


def test_the_last_run_is_not_the_one_that_was_run_again(place: Place) -> None:
    place.answer()
    first = json.loads(place.run("reproduce", "last", "--app", place.folder, "--json"))
    flush_writers(place.db)
    with Reader(place.db) as reader:
        assert reader.find_run("last").run_id != first["run_id"], "the other one is not recorded"
    assert json.loads(place.run("reproduce", "last", "--app", place.folder, "--json"))["run_id"] == first["run_id"]


def test_diff_says_in_words_what_changed_between_two_answers(place: Place) -> None:
    place.answer("a")
    first = json.loads(place.run("list", "--json"))[0]
    place.promote(2)
    place.answer("b")
    assert place.run("diff", "desk@1", "desk@2") == "prompt ask@prod: version 1 → 2\n"
    assert json.loads(place.run("diff", "desk@1", "last", "--json"))["changes"] == ["prompt ask@prod: version 1 → 2"]
    place.run("diff", "desk@1", "--check", code=1)
    place.run("diff", "desk@1", "desk@1", "--check")
    assert (first["name"], first["version"]) == ("desk", 1)


def test_freeze_stores_the_chain_as_it_is_now(place: Place) -> None:
    assert place.run("freeze", place.folder, "--label", "release", "-m", "first").startswith("desk@1 ")
    assert "was there already" in place.run("freeze", place.folder)
    place.answer()
    assert [row["labels"] for row in json.loads(place.run("list", "--json"))] == [["release"]]
    out = place.run("show", "desk@release")
    assert "node answer" in out and "layer prompts" in out and "prompt ask@prod: version 1" in out
    assert json.loads(place.run("show", "last", "--json"))["chain"] == "desk@1"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("freeze", "nowhere"), "setup.app"),
        (("freeze", "json:dumps"), "setup.app"),
        (("show", "nothing@1"), "store.unknown_name"),
        (("diff", "desk@7", "desk@1"), "store.unknown_version"),
        (("reproduce", "nothing", "--app", "x"), "store.unknown_run"),
    ],
)
def test_a_mistake_is_one_clear_error(place: Place, words: tuple[str, ...], code: str) -> None:
    place.answer()
    with pytest.raises(ChainopsError) as caught:
        place.run(*words)
    assert caught.value.code == code and caught.value.hint


def test_a_run_without_a_chain_says_so(place: Place) -> None:
    (place.folder / "app.py").write_text(APP.replace("Chain(DB), ", ""))
    place.answer()
    with pytest.raises(ChainopsError, match="names no version of a chain") as caught:
        place.run("reproduce", "last", "--app", place.folder)
    assert caught.value.code == "store.no_chain"


def test_a_thread_that_is_not_pinned_cannot_be_unpinned(place: Place) -> None:
    place.answer()
    assert place.run("unpin", "desk", "t", code=1) == ""


@pytest.mark.llama
def test_a_run_on_the_local_model_is_reproduced_exactly(place: Place) -> None:
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python (the [llama] extra)")
    said = 'chainops.prompt("ask").render().text + SUFFIX + str(len(state["said"]))'
    asking = APP.replace(said, 'str(MODEL.invoke(chainops.prompt("ask").messages()).text)')
    asking = asking.replace('SUFFIX = "!"', "from chainops.cli.asking import chat_model\nMODEL = chat_model(None)")
    (place.folder / "app.py").write_text(asking)
    content = {"messages": [{"role": "user", "template": "How much is shipping?"}]}
    Artifacts(place.db).add("prompt", "ask", content, author="ann")
    place.promote(3)
    assert "fifty euros" in place.answer()[-1]
    place.promote(1)
    found = json.loads(place.run("reproduce", "last", "--app", place.folder, "--json"))
    assert (found["same"], found["changed"], found["notes"]) == (True, [], [])
    assert "fifty euros" in found["now"]["said"][-1]
