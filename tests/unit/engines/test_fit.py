"""What a model needs is known before it is loaded, and agrees with what llama.cpp then takes."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chainops.engines.llama.fit import KV_BYTES, fit, read_bandwidth
from chainops.engines.llama.model_file import ModelFile, check_model_file
from chainops.engines.llama.weights import read_weights

from .tiny_gguf import write_parts

GB = 1 << 30


@pytest.fixture
def tiny(tiny_path: Path) -> ModelFile:
    return check_model_file(tiny_path)


def test_the_weights_are_the_tensors_of_the_file(tiny: ModelFile) -> None:
    weights = read_weights(tiny)
    assert weights.quantisation == "Q8_0"
    assert sum(weights.layers) + weights.outside == weights.total
    assert 0.9 * tiny.size < weights.total < tiny.size
    assert weights.per_token == weights.total  # its embedding is its output, so all of it is read


def test_of_an_embedding_that_is_not_the_output_one_row_is_read(chain_path: Callable[..., Path]) -> None:
    file = check_model_file(chain_path([b"a", b"b"]))
    weights = read_weights(file)
    rows, width = len(file.metadata["tokenizer.ggml.tokens"]), file.number("embedding_length")
    assert weights.total - weights.per_token == 4 * width * (rows - 1)


def test_a_model_in_parts_weighs_what_its_parts_weigh(tmp_path: Path) -> None:
    from .tiny_gguf import chain_model

    model = chain_model([b"a", b"b"])
    whole = read_weights(check_model_file(model.write(tmp_path / "whole.gguf")))
    assert read_weights(check_model_file(write_parts(model, tmp_path))) == whole


def buffers(path: Path, **options: Any) -> dict[str, float]:
    """Sizes in MiB of what llama.cpp takes for a context, by its own log."""
    from chainops.engines.llama.library import library, library_log

    lib, lines = library(), []
    keep = lib.llama_log_callback(lambda _level, text, _data: lines.append((text or b"").decode(errors="replace")))
    lib.llama_log_set(keep, None)
    try:
        params = lib.llama_model_default_params()
        params.use_extra_bufts = False
        model = lib.llama_model_load_from_file(str(path).encode(), params)
        wanted = lib.llama_context_default_params()
        wanted.n_seq_max = wanted.n_outputs_max = 1
        wanted.kv_unified = True
        for name, value in options.items():
            setattr(wanted, name, value)
        context = lib.llama_init_from_model(model, wanted)
        assert context
        lib.llama_free(context)
        lib.llama_model_free(model)
    finally:
        lib.llama_log_set(ctypes.cast(library_log(lib).silence, lib.llama_log_callback), None)
    sizes = re.findall(r"(KV|compute) buffer size = *([0-9.]+) MiB", "".join(lines))
    return {what: float(size) for what, size in sizes}


@pytest.mark.llama
@pytest.mark.parametrize("flash", [False, True])
@pytest.mark.parametrize(("n_ctx", "n_batch"), [(256, 256), (1024, 64), (4096, 256)])
def test_cache_and_buffers_are_what_llama_cpp_takes(tiny: ModelFile, n_ctx: int, n_batch: int, flash: bool) -> None:
    real = buffers(tiny.path, n_ctx=n_ctx, n_batch=n_batch, n_ubatch=n_batch, flash_attn_type=int(flash))
    found = fit(tiny, n_ctx=n_ctx, n_batch=n_batch, flash_attn=flash, ram=GB)
    assert found.kv / 2**20 == pytest.approx(real["KV"], abs=0.01)
    assert real["compute"] <= found.compute / 2**20 <= 2.5 * real["compute"] + 2


@pytest.mark.parametrize("kv_type", KV_BYTES)
def test_a_smaller_type_of_cache_takes_less_and_lets_more_fit(tiny: ModelFile, kv_type: str) -> None:
    full = fit(tiny, n_ctx=1024, ram=GB)
    found = fit(tiny, n_ctx=1024, ram=GB, kv_type=kv_type)
    assert found.kv == int(full.kv_per_token * KV_BYTES[kv_type] / 2) * 1024


def test_what_does_not_fit_is_said_with_the_largest_context_that_does(tiny: ModelFile) -> None:
    room = 8_000_000
    found = fit(tiny, n_ctx=1024, ram=room)
    assert not found.fits
    assert 0 < found.largest_ctx < 1024
    assert fit(tiny, n_ctx=found.largest_ctx, ram=room).fits
    assert not fit(tiny, n_ctx=found.largest_ctx + 1, ram=room).fits
    assert fit(tiny, n_ctx=8, ram=1000).largest_ctx == 0


def test_calls_at_once_each_have_their_cache(tiny: ModelFile) -> None:
    assert fit(tiny, n_ctx=512, sequences=8, ram=GB).kv == 8 * fit(tiny, n_ctx=512, ram=GB).kv


def test_layers_go_to_the_gpu_as_long_as_they_fit(tiny: ModelFile) -> None:
    counts = [fit(tiny, n_ctx=256, ram=GB, gpu=size).gpu_layers for size in range(0, 10_000_000, 250_000)]
    assert counts == sorted(counts)
    assert set(counts) == set(range(6))  # four layers and the output; none where there is no room
    all_of_it = fit(tiny, n_ctx=256, ram=GB, gpu=GB)
    assert all_of_it.gpu_layers == all_of_it.layers == 5
    assert all_of_it.in_ram == 0
    none = fit(tiny, n_ctx=256, ram=GB, gpu=None)
    assert (none.gpu_layers, none.on_gpu, none.in_ram) == (0, 0, none.need)


def test_the_rate_is_bandwidth_by_what_is_read_and_unknown_where_layers_are_elsewhere(tiny: ModelFile) -> None:
    found = fit(tiny, n_ctx=1024, ram=GB, bandwidth=1e10)
    read = read_weights(tiny).per_token + found.kv_per_token * 512
    assert found.limit_tps == pytest.approx(1e10 / read)
    assert found.expected_tps is not None
    assert found.expected_tps < found.limit_tps
    assert fit(tiny, n_ctx=1024, ram=GB, bandwidth=1e10, gpu=GB).limit_tps is None
    assert fit(tiny, n_ctx=1024, ram=GB).limit_tps is None


def test_the_bandwidth_is_that_of_a_machine() -> None:
    assert 1e8 < read_bandwidth(1 << 20, threads=1) < 1e13
