"""An adapter file is checked before llama.cpp, which dies of wrong ones, sees it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainops.engines.llama.adapter_file import check_adapter_file, is_adapter
from chainops.engines.llama.model_file import ModelFile, check_model_file
from chainops.errors import SetupError

from .tiny_adapter import Pair, one_step, write_adapter
from .tiny_gguf import F32, STRING, encode


@pytest.fixture
def base(chain_path: Callable[..., Path]) -> ModelFile:
    return check_model_file(chain_path([b"a", b"b"]))


def pair_of(base: ModelFile, **options: Any) -> Pair:
    return one_step(base.number("embedding_length"), len(base.metadata["tokenizer.ggml.tokens"]), 5, 6, **options)


def test_a_good_adapter_passes_and_says_what_it_is(base: ModelFile, tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "good.gguf", {"output.weight": pair_of(base)})
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    found = check_adapter_file(path, base=base, sha256=sha256)
    assert (found.rank, found.tensors, found.arch, found.sha256) == (1, 1, "llama", sha256)
    assert found.size == path.stat().st_size
    assert is_adapter(path)
    assert not is_adapter(base.path)


def test_another_content_than_expected_is_refused(base: ModelFile, tmp_path: Path) -> None:
    path = write_adapter(tmp_path / "good.gguf", {"output.weight": pair_of(base)})
    with pytest.raises(SetupError) as caught:
        check_adapter_file(path, base=base, sha256="0" * 64)
    assert caught.value.code == "setup.model_hash"


def wrong(**metadata: tuple[int, Any]) -> Callable[[ModelFile, Path], Path]:
    def make(base: ModelFile, path: Path) -> Path:
        keys = {name.replace("__", "."): value for name, value in metadata.items()}
        return write_adapter(path, {"output.weight": pair_of(base)}, metadata=keys)

    return make


def shaped(a: tuple[int, ...], b: tuple[int, ...], name: str = "output.weight") -> Callable[[ModelFile, Path], Path]:
    def make(base: ModelFile, path: Path) -> Path:
        def values(shape: tuple[int, ...]) -> list[float]:
            count = 1
            for side in shape:
                count *= side
            return [0.0] * count

        return write_adapter(path, {name: ((a, values(a)), (b, values(b)))})

    return make


def half(_base: ModelFile, path: Path) -> Path:
    from array import array

    keys = {
        "general.type": (STRING, "adapter"),
        "general.architecture": (STRING, "llama"),
        "adapter.type": (STRING, "lora"),
        "adapter.lora.alpha": (F32, 1.0),
    }
    path.write_bytes(encode(keys, {"output.weight.lora_a": ((32, 1), array("f", [0.0] * 32))}))
    return path


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (wrong(general__type=(STRING, "model")), "it holds a 'model'"),
        (wrong(adapter__type=(STRING, "dora")), "'dora', not 'lora'"),
        (wrong(general__architecture=(STRING, "qwen2")), "made for the architecture 'qwen2'"),
        (wrong(adapter__lora__alpha=(F32, float("nan"))), "alpha is nan"),
        (wrong(adapter__lora__alpha=(STRING, "1")), "alpha is '1'"),
        (shaped((32, 1), (1, 32)), "has the shape"),
        (shaped((32, 2), (3, 32)), "do not belong together"),
        (shaped((32, 1), (1, 32), name="blk.7.attn_q.weight"), "the model has no tensor 'blk.7.attn_q.weight'"),
        (shaped((32,), (32,)), "do not belong together"),
        (half, "there is only lora_a"),
        (lambda _base, path: write_adapter(path, {}), "it has no weights"),
    ],
)
def test_a_wrong_adapter_is_refused_with_what_is_wrong(
    base: ModelFile, tmp_path: Path, make: Callable[[ModelFile, Path], Path], reason: str
) -> None:
    with pytest.raises(SetupError, match=reason) as caught:
        check_adapter_file(make(base, tmp_path / "bad.gguf"), base=base)
    assert caught.value.code == "setup.adapter"


@pytest.mark.parametrize("content", [b"", b"GGUF", b"text, and no adapter"])
def test_what_is_no_gguf_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    for bad in (path, tmp_path, tmp_path / "absent.gguf"):
        with pytest.raises(SetupError) as caught:
            check_adapter_file(bad)
        assert caught.value.code == "setup.model_file"


@settings(max_examples=150)
@given(place=st.integers(0, 700), byte=st.integers(0, 255), cut=st.integers(0, 5000))
def test_a_damaged_adapter_is_an_adapter_or_an_error_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int, cut: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.gguf"
    raw = bytearray(write_adapter(path, {"output.weight": one_step(64, 64, 1, 2)}).read_bytes())
    raw[place % len(raw)] = byte
    path.write_bytes(raw[: len(raw) - cut] if cut < len(raw) else raw)
    try:
        found = check_adapter_file(path)
    except SetupError:
        return
    assert found.tensors == 1
