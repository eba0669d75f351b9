"""The layer and the score on a real ONNX classifier that is made here: every word has its weight."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph

from chainops import App, Middleware, SetupError
from chainops.middleware.rails import RailBlocked
from chainops.testing import MiddlewareConformance, RecordedTrace, ScriptedModel, check_plugin
from chainops_toxicity_hf import plugin
from chainops_toxicity_hf.layer import words_of

WORDS = {"[UNK]": (-4, -4), "[PAD]": (-4, -4), "idiot": (4, -4), "dumb": (0.5, -4), "hurt": (-4, 4)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as one of toxic-bert's kind is: several labels, each judged alone."""
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime (the [onnx] extra)")
    tokenizers = pytest.importorskip("tokenizers", reason="needs tokenizers (the [onnx] extra)")
    import numpy as np

    folder = tmp_path_factory.mktemp("model")
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    labels = {"id2label": {"0": "insult", "1": "threat"}, "problem_type": "multi_label_classification"}
    (folder / "config.json").write_text(json.dumps(labels))
    make = onnx.helper
    weights = onnx.numpy_helper.from_array(np.array(list(WORDS.values()), dtype=np.float32), "weights")
    nodes = [
        make.make_node("Gather", ["weights", "input_ids"], ["rows"], axis=0),
        make.make_node("ReduceMax", ["rows"], ["logits"], axes=[1], keepdims=0),
    ]
    ids = make.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["texts", "tokens"])
    out = make.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["texts", 2])
    graph = make.make_graph(nodes, "weights", [ids], [out], [weights])
    made = make.make_model(graph, opset_imports=[make.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, str(folder / "model.onnx"))
    return folder


class TestConformance(MiddlewareConformance):
    @pytest.fixture(autouse=True)
    def _model(self, model: Path) -> None:
        self.model = model

    def make(self) -> Middleware:
        (layer,) = plugin.build({"model": str(self.model)})
        return layer


def application(model: Path, folder: Path, **options: Any) -> App:
    return App(
        pipeline={"middleware": ["trace", "toxicity_hf"]},
        plugins={"toxicity_hf": {"model": str(model), **options}},
        trace={"path": str(folder / "t.db")},
    )


def asking(application: App, chat: Any) -> Any:
    async def answer(state: MessagesState) -> Any:
        return {"messages": [await chat.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    return application.instrument(builder.compile())


async def test_a_toxic_answer_is_replaced_and_no_word_of_it_streams(
    model: Path, tmp_path: Path, installed_plugin: Any
) -> None:
    with application(model, tmp_path) as app:
        graph = asking(app, ScriptedModel(["What an idiot you are."] * 2))
        state = await graph.ainvoke({"messages": ["hi"]})
        streamed = [p[0].text async for p in graph.astream({"messages": ["hi"]}, stream_mode="messages")]
    assert state["messages"][-1].text == "I would rather not say that."
    assert "idiot" not in "".join(streamed)


async def test_what_a_person_says_is_judged_too_and_may_end_the_run(
    model: Path, tmp_path: Path, installed_plugin: Any
) -> None:
    chat = ScriptedModel(["Fine."])
    with application(model, tmp_path, on_block="stop") as app:
        with pytest.raises(RailBlocked, match="threat"):
            await asking(app, chat).ainvoke({"messages": ["I will hurt you"]})
    assert chat.calls == []


async def test_between_flag_and_block_a_text_passes_marked(model: Path, tmp_path: Path, installed_plugin: Any) -> None:
    with application(model, tmp_path) as app:
        state = await asking(app, ScriptedModel(["A dumb idea."])).ainvoke({"messages": ["hi"]})
    assert state["messages"][-1].text == "A dumb idea."
    (call,) = RecordedTrace(tmp_path / "t.db").model_calls
    assert "insult" in json.dumps(call.own)


async def test_only_labels_that_are_named_count(model: Path, tmp_path: Path, installed_plugin: Any) -> None:
    with application(model, tmp_path, labels=["threat"]) as app:
        state = await asking(app, ScriptedModel(["You idiot."])).ainvoke({"messages": ["hi"]})
    assert state["messages"][-1].text == "You idiot."


async def test_answers_that_are_in_the_trace_get_a_score(model: Path, tmp_path: Path, installed_plugin: Any) -> None:
    with App(trace={"path": str(tmp_path / "chainops.db")}) as app:
        await asking(app, ScriptedModel(["You idiot."])).ainvoke({"messages": ["hi"]})
    (tmp_path / "chainops.toml").write_text(f'[plugins.toxicity_hf]\nmodel = "{model}"\n')
    line = [sys.executable, "-m", "chainops", "plugin", "score", "toxicity_hf/toxicity", "--json"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert json.loads(done.stdout) == {"scorer": "toxicity_hf/toxicity", "runs": 1, "scores": 1}, done.stderr
    with closing(sqlite3.connect(tmp_path / "chainops.db")) as db:
        (row,) = db.execute("SELECT name, value FROM score WHERE source = 'rule'").fetchall()
    assert row == ("toxicity_hf/toxicity", pytest.approx(0.982, abs=1e-3))


def test_ids_and_usage_of_a_recorded_answer_are_no_words() -> None:
    assert words_of('{"type": "ai", "content": "Hello.", "id": "idiot"}') == "Hello."
    assert words_of('{"content": [{"type": "text", "text": "a"}, {"type": "image"}, "b"]}') == "a"
    assert words_of("cut in the mid") == "cut in the mid"


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"labels": ["nope"]}, "labels"), ({"flag": 0.9, "block": 0.5}, "flag=0.9"), ({"model": "/none"}, "config.json")],
)
def test_a_wrong_setting_is_a_clear_error(model: Path, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(SetupError, match=problem):
        plugin.build({"model": str(model), **options})


async def test_everything_that_the_plugin_brings_passes_its_checks(model: Path) -> None:
    findings = await check_plugin(plugin, {"model": str(model)})
    assert [finding for finding in findings if not finding.passed] == []
    assert len(findings) >= 7
