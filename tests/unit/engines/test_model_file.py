"""Files that would crash or confuse llama.cpp are refused with a reason."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chainops.engines.llama import memory, room
from chainops.engines.llama.gguf import BadFileError, peek_metadata, read_header
from chainops.engines.llama.model_file import check_model_file, file_sha256
from chainops.engines.llama.room import check_memory, fitting_cells, plan_room
from chainops.errors import SetupError

from .tiny_gguf import ARRAY, I32, STRING, U32, Model, chain_model, string


def head(tensors: int, keys: int, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


RAW: dict[str, tuple[bytes, str]] = {
    "zero_bytes": (b"", "empty"),
    "magic_only": (b"GGUF", "version"),
    "text": (b"This is a text file.\n" * 50, "does not start with"),
    "other_binary": (bytes(range(256)) * 8, "does not start with"),
    "version_1": (head(0, 0, version=1), "version 1"),
    "version_99": (head(0, 0, version=99), "version 99"),
    "big_endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "huge_key_count": (head(0, 1 << 60) + bytes(64), "keys"),
    "huge_tensor_count": (head(1 << 60, 0) + bytes(64), "tensors"),
    "empty_key": (head(0, 1) + struct.pack("<QIB", 0, 7, 1), "0 bytes"),
    "huge_string": (head(0, 1) + struct.pack("<Q", 1 << 62) + b"abc", "bytes"),
    "huge_value": (head(0, 1) + string("a") + struct.pack("<IQ", 8, 1 << 62) + b"abc", "left"),
    "huge_array": (head(0, 1) + string("a") + struct.pack("<IIQ", ARRAY, 8, 1 << 61), "elements"),
    "nested_array": (head(0, 1) + string("a") + struct.pack("<IIQ", ARRAY, ARRAY, 1) + bytes(64), "unknown type 9"),
    "unknown_type": (head(0, 1) + string("a") + struct.pack("<I", 77) + bytes(8), "unknown type 77"),
    "key_not_utf8": (head(0, 1) + string(b"\xff\xfe") + struct.pack("<IB", 7, 1), "UTF-8"),
    "no_architecture": (head(0, 0) + bytes(64), "architecture"),
    "five_dimensions": (head(1, 0) + string("t") + struct.pack("<I", 5) + bytes(80), "5 dimensions"),
}


@pytest.mark.parametrize("name", RAW)
def test_a_file_that_is_no_sound_gguf_is_refused_with_its_reason(tmp_path: Path, name: str) -> None:
    content, reason = RAW[name]
    path = tmp_path / f"{name}.gguf"
    path.write_bytes(content)
    with pytest.raises(SetupError, match=reason) as caught:
        check_model_file(path)
    assert caught.value.code == "setup.model_file"
    assert caught.value.hint


def put(**changes: Any) -> Callable[[Model], None]:
    def change(model: Model) -> None:
        for name, item in changes.items():
            key = next(key for key in model.metadata if key.endswith(name))
            if item is None:
                del model.metadata[key]
            elif isinstance(item, tuple):
                model.metadata[key] = item
            else:
                model.metadata[key] = (model.metadata[key][0], item)

    return change


def drop_tensors(model: Model) -> None:
    model.tensors.clear()


def drop_embedding(model: Model) -> None:
    del model.tensors["token_embd.weight"]


def fewer_tokens(model: Model) -> None:
    kind, (inner, tokens) = model.metadata["tokenizer.ggml.tokens"]
    model.metadata["tokenizer.ggml.tokens"] = (kind, (inner, tokens[:-1]))
    del model.metadata["tokenizer.ggml.token_type"]


INCONSISTENT: dict[str, tuple[Callable[[Model], None], str]] = {
    "no_layers": (put(block_count=0), "block_count is 0"),
    "too_many_layers": (put(block_count=1 << 31), "block_count is 2147483648"),
    "no_width": (put(embedding_length=0), "embedding_length is 0"),
    "odd_width": (put(embedding_length=65), "do not divide"),
    "no_context": (put(context_length=0), "context_length is 0"),
    "no_heads": (put(head_count=0), "head_count is 0"),
    "seven_heads": (put(head_count=7), "do not divide"),
    "too_many_heads": (put(head_count=1 << 30), "head_count"),
    "no_kv_heads": (put(head_count_kv=0), "key-value heads"),
    "odd_kv_heads": (put(head_count_kv=5), "key-value heads"),
    "no_architecture": (put(architecture=None), "architecture is None"),
    "architecture_is_a_number": (put(architecture=(U32, 5)), "architecture is 5"),
    "embedding_architecture": (put(architecture="bert"), "cannot chat"),
    "no_tokens": (put(tokens=None), "no list of tokens"),
    "same_token_twice": (put(tokens=(ARRAY, (STRING, ["a"] * 266))), "occur twice"),
    "short_token_types": (put(token_type=(ARRAY, (I32, [1] * 3))), "token_type"),
    "no_merges": (put(merges=None), "no merges"),
    "tokenizer_unknown": (put(**{"ggml.model": "zzz"}), "tokenizer is 'zzz'"),
    "tokenizer_none": (put(**{"ggml.model": "none"}), "tokenizer is 'none'"),
    "tokenizer_of_another_kind": (put(**{"ggml.model": "llama"}), "byte tokens"),
    "end_token_outside": (put(eos_token_id=999_999), "eos_token_id"),
    "start_token_outside": (put(bos_token_id=4_000_000_000), "bos_token_id"),
    "fewer_tokens_than_rows": (fewer_tokens, "token_embd"),
    "no_embedding": (drop_embedding, "token_embd"),
    "no_tensors": (drop_tensors, "no weights"),
}


@pytest.mark.parametrize("name", INCONSISTENT)
def test_a_model_whose_numbers_contradict_each_other_is_refused(tmp_path: Path, name: str) -> None:
    change, reason = INCONSISTENT[name]
    model = chain_model([b"aa", b"b"])
    change(model)
    with pytest.raises(SetupError, match=reason):
        check_model_file(model.write(tmp_path / "model.gguf"))


def test_a_sound_model_passes_and_is_described(tmp_path: Path) -> None:
    path = chain_model([b"Hello", b" you"], context=512).write(tmp_path / "model.gguf")
    file = check_model_file(path)
    assert (file.arch, file.trained_context, file.size) == ("llama", 512, path.stat().st_size)
    assert peek_metadata(path)["llama.context_length"] == 512


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = chain_model([b"a", b"b"]).write(tmp_path / "whole.gguf").read_bytes()
    cut = tmp_path / "cut.gguf"
    for part in (0.001, 0.01, 0.02, 0.1, 0.5, 0.9, 0.999):
        cut.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(SetupError):
            check_model_file(cut)


def test_random_damage_in_the_header_never_raises_anything_but_a_setup_error(tmp_path: Path) -> None:
    whole = bytearray(chain_model([b"a", b"b"]).write(tmp_path / "whole.gguf").read_bytes())
    header_bytes = read_header(tmp_path / "whole.gguf").data_start
    dice, refused = random.Random(7), 0
    path = tmp_path / "damaged.gguf"
    for _ in range(300):
        damaged = bytearray(whole[: header_bytes + 4096])
        for _ in range(dice.randint(1, 8)):
            damaged[dice.randrange(header_bytes)] = dice.randrange(256)
        path.write_bytes(damaged)
        with pytest.raises(SetupError):  # also without damage: the tensor data is cut off
            check_model_file(path)
        refused += 1
    assert refused == 300


def test_a_directory_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="directory"):
        check_model_file(tmp_path)
    with pytest.raises(SetupError, match="no such file"):
        check_model_file(tmp_path / "absent.gguf")


def test_the_hash_is_compared_when_it_is_given(tmp_path: Path) -> None:
    path = chain_model([b"a", b"b"]).write(tmp_path / "model.gguf")
    right = file_sha256(path)
    assert check_model_file(path, sha256=right.upper()).sha256 == right
    with pytest.raises(SetupError, match="expected 0000") as caught:
        check_model_file(path, sha256="0" * 64)
    assert caught.value.code == "setup.model_hash"


def test_a_context_that_does_not_fit_into_memory_is_refused_before_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = check_model_file(chain_model([b"a", b"b"]).write(tmp_path / "model.gguf"))
    monkeypatch.setattr(room, "available_memory", lambda: 10_000_000)
    check_memory(file, 2048)
    with pytest.raises(SetupError, match=r"n_ctx=1000000000 needs about") as caught:
        check_memory(file, 1_000_000_000)
    assert caught.value.code == "setup.model_memory"
    assert "n_ctx of at most" in caught.value.hint


def test_the_cache_formula_counts_layers_heads_and_two_tensors() -> None:
    facts = {
        "general.architecture": "llama",
        "llama.block_count": 4,
        "llama.embedding_length": 192,
        "llama.attention.head_count": 6,
        "llama.attention.head_count_kv": 2,
    }
    assert memory.kv_bytes_per_token(facts) == 2 * 4 * 2 * 32 * 2
    facts["llama.attention.head_count_kv"] = (2, 2, 1, 1)  # type: ignore[assignment]
    assert memory.kv_bytes_per_token(facts) == 2 * 6 * 32 * 2


def test_the_control_group_bounds_the_available_memory(tmp_path: Path) -> None:
    proc = tmp_path / "meminfo"
    proc.write_text("MemTotal: 999 kB\nMemAvailable:    1000 kB\n")
    assert memory.available_memory(proc, tmp_path) == 1_024_000
    (tmp_path / "memory.max").write_text("500000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 50000\n")
    assert memory.available_memory(proc, tmp_path) == 150_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_memory(proc, tmp_path) == 1_024_000
    assert memory.available_memory(tmp_path / "absent", tmp_path) is None


@pytest.mark.parametrize("version", [1, 2])
def test_a_limit_of_any_group_above_the_process_counts(tmp_path: Path, version: int) -> None:
    """A unit of systemd has no view of its own: its group lies deep below the first one."""
    proc, own, root = tmp_path / "meminfo", tmp_path / "own", tmp_path / "cgroup"
    proc.write_text("MemAvailable:    1000 kB\n")
    own.write_text(
        "0::/system.slice/desk.service\n" if version == 2 else "4:memory:/system.slice/desk.service\n3:cpu:/\n"
    )
    base = root if version == 2 else root / "memory"
    limit, used = ("max", "current") if version == 2 else ("limit_in_bytes", "usage_in_bytes")
    for path, most, taken in (("system.slice", 800_000, 100_000), ("system.slice/desk.service", 600_000, 200_000)):
        (base / path).mkdir(parents=True)
        (base / path / f"memory.{limit}").write_text(f"{most}\n")
        (base / path / f"memory.{used}").write_text(f"{taken}\n")
    assert memory.available_memory(proc, root, own) == 400_000
    (base / "system.slice" / f"memory.{used}").write_text("700000\n")
    assert memory.available_memory(proc, root, own) == 100_000


def test_a_part_of_a_split_model_asks_for_the_first(tmp_path: Path) -> None:
    model = chain_model([b"a", b"b"])
    model.metadata["split.count"] = (U32, 2)
    weights, model.tensors = model.tensors, {}
    first = model.write(tmp_path / "model-00001-of-00002.gguf")
    model.tensors = weights
    with pytest.raises(SetupError, match=r"00002-of-00002.gguf: there is no such file"):
        check_model_file(first)
    second = model.write(tmp_path / "model-00002-of-00002.gguf")
    with pytest.raises(SetupError, match="give the first"):
        check_model_file(second)
    assert check_model_file(first).size == first.stat().st_size + second.stat().st_size


def test_reading_metadata_for_a_description_never_fails(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(head(0, 5) + b"junk")
    assert peek_metadata(broken) == {}
    assert peek_metadata(tmp_path / "absent") == {}
    with pytest.raises(BadFileError):
        read_header(broken)


def test_the_default_room_for_many_calls_shrinks_to_what_the_memory_allows(tmp_path: Path) -> None:
    file = check_model_file(chain_model([b"a", b"b"]).write(tmp_path / "model.gguf"))
    per_token = memory.kv_bytes_per_token(file.metadata)

    def cells(free: int | None) -> int:
        return fitting_cells(file.metadata, 1000, free, least=100, wanted=800)

    assert cells(None) == cells(1000 + per_token * 5000) == 800
    assert cells(1000 + per_token * 500) == 200
    assert cells(0) == 100


def test_the_memory_check_counts_all_cells_and_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = check_model_file(chain_model([b"a", b"b"]).write(tmp_path / "model.gguf"))
    per_token = memory.kv_bytes_per_token(file.metadata)
    monkeypatch.setattr(room, "available_memory", lambda: file.size + 1000 * per_token)
    check_memory(file, 100, cells=800, kept=200)
    for cells, kept in ((801, 200), (800, 201)):
        with pytest.raises(SetupError, match=rf"\({cells} cells, {kept} kept tokens\)") as caught:
            check_memory(file, 100, cells=cells, kept=kept)
        assert "Give n_ctx of at most 99" in caught.value.hint


def test_cells_belong_to_calls_where_the_memory_holds_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = check_model_file(chain_model([b"a", b"b"]).write(tmp_path / "model.gguf"))
    per_token = memory.kv_bytes_per_token(file.metadata)

    def plan(**options: Any) -> tuple[bool, int, int]:
        found = plan_room(file, **{"n_ctx": 100, "n_parallel": 8, **options})
        return found.unified, found.n_cells, found.n_kept

    monkeypatch.setattr(room, "available_memory", lambda: file.size + 5000 * per_token)
    assert plan() == (False, 800, 800)
    assert plan(layout="unified") == (True, 800, 800)
    assert plan(n_cells=300) == (True, 300, 300)
    assert plan(n_parallel=1, n_kept=0) == (False, 100, 0)
    monkeypatch.setattr(room, "available_memory", lambda: file.size + 1000 * per_token)
    assert plan() == (True, 400, 400)
    assert plan(layout="partitioned", n_kept=0) == (False, 800, 0)
    with pytest.raises(SetupError, match="needs about"):
        plan(layout="partitioned")
    with pytest.raises(SetupError, match="cells of its own") as caught:
        plan(layout="partitioned", n_cells=800)
    assert caught.value.code == "setup.option"
