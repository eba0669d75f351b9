"""Adapters are chosen per call; no call ever computes with another one's."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chainops.engines.llama.model_file import check_model_file
from chainops.errors import CallError, SetupError

from .tiny_adapter import one_step, write_adapter
from .tiny_gguf import as_token

pytestmark = pytest.mark.llama

PIECES = [b"one ", b"two ", b"three ", b"four "]


@pytest.fixture
def model_path(chain_path: Callable[..., Path]) -> Path:
    return chain_path(PIECES)


def skip(model: Path, path: Path, first: bytes, then: bytes, weight: float = 10.0) -> Path:
    """An adapter that lets ``then`` follow ``first``."""
    file = check_model_file(model)
    tokens = [token.decode() for token in file.metadata["tokenizer.ggml.tokens"]]
    pair = one_step(
        file.number("embedding_length"),
        len(tokens),
        tokens.index(as_token(first)),
        tokens.index(as_token(then)),
        weight,
    )
    return write_adapter(path, {"output.weight": pair})


@pytest.fixture
def model(model_path: Path, tmp_path: Path) -> Iterator[Any]:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
    from chainops.engines.llama import ChatLlama

    made = ChatLlama(
        model_path=model_path,
        probe=False,
        adapters={
            "short": skip(model_path, tmp_path / "short.gguf", b"one ", b"four "),
            "odd": skip(model_path, tmp_path / "odd.gguf", b"one ", b"three "),
        },
    )
    yield made
    made.close()


async def say(model: Any, **options: Any) -> str:
    return str((await model.ainvoke("go", **options)).content)


async def test_a_call_chooses_its_adapter_and_the_next_is_as_before(model: Any, tmp_path: Path) -> None:
    assert await say(model) == "one two three four "
    answer = await model.ainvoke("go", adapter="short")
    assert answer.content == "one four "
    sha256 = hashlib.sha256((tmp_path / "short.gguf").read_bytes()).hexdigest()
    assert answer.response_metadata["adapters"] == [{"name": "short", "sha256": sha256, "scale": 1.0}]
    assert await say(model, adapter="odd") == "one three four "
    again = await model.ainvoke("go")
    assert again.content == "one two three four "
    assert "adapters" not in again.response_metadata


async def test_the_scale_decides_how_much(model: Any) -> None:
    assert await say(model, adapter={"short": 0.01}) == "one two three four "
    assert await say(model, adapter={"short": 1, "odd": 2}) == "one three four "
    assert await say(model, adapter={"short": 2, "odd": 1}) == "one four "
    assert await say(model, adapter={"short": 0}) == "one two three four "
    assert await say(model, adapter="") == "one two three four "


async def test_calls_with_different_adapters_at_once_never_mix(model: Any) -> None:
    wanted = {"": "one two three four ", "short": "one four ", "odd": "one three four "}
    names = [*wanted] * 12
    assert await asyncio.gather(*(say(model, adapter=name) for name in names)) == [wanted[name] for name in names]


@pytest.mark.parametrize("layout", ["unified", "partitioned"])
async def test_streams_with_different_adapters_advance_side_by_side(
    model: Any, model_path: Path, tmp_path: Path, layout: str
) -> None:
    short = skip(model_path, tmp_path / "loop.gguf", b"four ", b"three ")
    made = type(model)(model_path=model_path, probe=False, kv_layout=layout, adapters={"again": short}, n_ctx=512)
    plain, endless = made.astream("go"), made.astream("go", adapter="again", max_tokens=200)
    first = [(await anext(endless)).content for _ in range(6)]
    assert first == ["one ", "two ", "three ", "four ", "three ", "four "]
    assert [chunk.content async for chunk in plain] == ["one ", "two ", "three ", "four ", ""]
    assert [chunk.content async for chunk in endless][-3:-1] == ["three ", "four "]
    made.close()


async def test_what_was_computed_with_one_adapter_is_not_used_with_another(model: Any) -> None:
    used = []
    for name in ("", "", "short", "short", ""):
        answer = await model.ainvoke("a question of some length", adapter=name)
        used.append(answer.usage_metadata["input_token_details"]["cache_read"] > 0)
    assert used == [False, True, False, True, True]


async def test_a_node_binds_its_adapter_and_the_object_has_a_default(model: Any) -> None:
    assert await say(model.bind(adapter="short")) == "one four "
    other = model.model_copy(update={"adapter": "odd"})
    assert await say(other) == "one three four "
    assert await say(other, adapter="") == "one two three four "
    other.close()


async def test_two_objects_with_their_own_adapters_share_one_model(
    model: Any, model_path: Path, tmp_path: Path
) -> None:
    from chainops.engines.llama import ChatLlama

    path = skip(model_path, tmp_path / "mine.gguf", b"one ", b"three ")
    other = ChatLlama(model_path=model_path, probe=False, adapters={"short": path})
    assert other.session is model.session
    assert await say(other, adapter="short") == "one three four "
    assert await say(model, adapter="short") == "one four "
    other.close()


@pytest.mark.parametrize("wanted", ["none", {"short": float("nan")}, {"short": "1"}, {"short": True}, 3, ["short"]])
async def test_a_wrong_choice_fails_before_the_model_is_asked(model: Any, wanted: Any) -> None:
    with pytest.raises(CallError) as caught:
        await say(model, adapter=wanted)
    assert caught.value.code == "call.option"


async def test_a_wrong_file_fails_its_call_and_no_other(model_path: Path, tmp_path: Path) -> None:
    from chainops.engines.llama import ChatLlama

    good = skip(model_path, tmp_path / "good.gguf", b"one ", b"four ")
    foreign = write_adapter(tmp_path / "foreign.gguf", {"output.weight": one_step(32, 32, 1, 2)})
    empty = tmp_path / "empty.gguf"
    empty.write_bytes(b"")
    changed = {"path": str(good), "sha256": "0" * 64}
    named = {"good": good, "foreign": foreign, "empty": empty, "model": model_path, "changed": changed}
    made = ChatLlama(model_path=model_path, probe=False, adapters=named)
    try:
        for name, code in (
            ("foreign", "setup.adapter"),
            ("empty", "setup.model_file"),
            ("model", "setup.adapter"),
            ("changed", "setup.model_hash"),
        ):
            with pytest.raises(SetupError) as caught:
                await say(made, adapter=name)
            assert caught.value.code == code
            assert await say(made, adapter="good") == "one four "
            assert await say(made) == "one two three four "
    finally:
        made.close()


def test_adapters_are_part_of_what_the_model_is(model: Any, model_path: Path) -> None:
    from chainops.engines.llama import ChatLlama

    plain = ChatLlama(model_path=model_path, probe=False)
    assert plain.chainops_identity() != model.chainops_identity()
    chosen = model.model_copy(update={"adapter": "short"})
    assert chosen.chainops_identity() != model.chainops_identity()
    assert set(model.chainops_identity()["adapters"]) == {"short", "odd"}


def test_a_registered_adapter_is_used_by_its_name(model_path: Path, tmp_path: Path) -> None:
    from chainops.engines.llama.registered import add_file, open_registered

    db = tmp_path / "models.db"
    add_file(db, "chain", model_path, probe=False, author="ann")
    add_file(db, "short", skip(model_path, tmp_path / "s.gguf", b"one ", b"four "), base="chain", author="ann")
    model = open_registered("chain", path=db, adapters={"brief": "short@1"}, adapter="brief")
    try:
        assert model.invoke("go").content == "one four "
    finally:
        model.close()
    with pytest.raises(SetupError) as caught:
        open_registered("chain", path=db, adapters={"brief": "chain"})
    assert caught.value.code == "setup.adapter"
