"""Whether a model fits, before anything is loaded: memory by part, layers on the GPU, and tokens per second."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from chainops.engines.llama.library import GPU_KINDS, devices
from chainops.engines.llama.memory import KV_BYTES, available_memory, kv_bytes_per_token
from chainops.engines.llama.model_file import ModelFile
from chainops.engines.llama.weights import read_weights

__all__ = ["KV_BYTES", "Fit", "fit", "gpu_memory", "read_bandwidth"]

EFFICIENCY = 0.45
"""Share of that bound which decoding reaches: 0.39 to 0.50 was measured (131 MB model, one core, AVX2)."""

SMALLEST_SAMPLE, LARGEST_SAMPLE = 1 << 20, 1 << 28
SAMPLE_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What a model needs and what there is. Sizes are bytes, rates tokens per second of one call.

    Args:
        weights: the tensors.
        kv_per_token: key-value cache of one token.
        kv: key-value cache of ``n_ctx`` tokens for each of ``sequences``.
        compute: buffers of one step of ``n_batch`` tokens; an upper bound for llama-like models.
        need: the sum of the three.
        ram, gpu: what is free there; None: not known (``gpu``: there is none, or the build cannot use it).
        layers, gpu_layers: how many layers there are (the output counts as one), and how many fit on the GPU.
        on_gpu, in_ram: how ``need`` is spread over the two.
        fits: what lies in ``ram`` fits there; True where ``ram`` is not known.
        largest_ctx: the most tokens per sequence that fit; at most what the model was trained with.
        limit_tps: the most that the memory's bandwidth allows one call: ``bandwidth / (weights read + cache read)``, at
            half the context. None where no bandwidth was measured, or where layers lie on a GPU. Models that fit into
            the processor's caches stay far below it, and calls at once are bound by arithmetic instead.
        expected_tps: 0.45 of that, about what was measured where this was written.
    """

    n_ctx: int
    sequences: int
    n_batch: int
    kv_type: str
    flash_attn: bool
    weights: int
    kv_per_token: int
    kv: int
    compute: int
    need: int
    ram: int | None
    gpu: int | None
    layers: int
    gpu_layers: int
    on_gpu: int
    in_ram: int
    fits: bool
    largest_ctx: int
    trained_ctx: int
    bandwidth: float | None
    limit_tps: float | None
    expected_tps: float | None


def fit(
    file: ModelFile,
    *,
    n_ctx: int,
    sequences: int = 1,
    n_batch: int = 256,
    kv_type: str = "f16",
    flash_attn: bool = False,
    ram: int | None = None,
    gpu: int | None = None,
    bandwidth: float | None = None,
) -> Fit:
    """What ``file`` needs with ``n_ctx`` tokens for each of ``sequences`` calls at once, and whether it is there.

    Args:
        kv_type: a key of ``KV_BYTES``.
        ram: free bytes; None: ask the system.
        gpu: free bytes on the GPU; None: no GPU.
        bandwidth: bytes per second that are read, see :func:`read_bandwidth`; None: no rates.
    """
    weights = read_weights(file)
    per_token = kv_bytes_per_token(file.metadata, value_bytes=KV_BYTES[kv_type])
    ram = available_memory() if ram is None else ram

    def parts(ctx: int) -> tuple[int, int]:
        return per_token * ctx * sequences, _compute_bytes(file, ctx * sequences, n_batch, sequences, flash_attn)

    def layers_on_gpu(ctx: int) -> tuple[int, int]:
        kv, compute = parts(ctx)
        return _on_gpu([*weights.layers, weights.outside], kv // max(len(weights.layers), 1), compute, gpu)

    def in_ram(ctx: int) -> int:
        return weights.total + sum(parts(ctx)) - layers_on_gpu(ctx)[1]

    kv, compute = parts(n_ctx)
    gpu_layers, on_gpu = layers_on_gpu(n_ctx)
    rest = weights.total + kv + compute - on_gpu
    limit = None
    if bandwidth and not gpu_layers:
        limit = bandwidth / (weights.per_token + per_token * n_ctx / 2)
    return Fit(
        n_ctx=n_ctx,
        sequences=sequences,
        n_batch=n_batch,
        kv_type=kv_type,
        flash_attn=flash_attn,
        weights=weights.total,
        kv_per_token=per_token,
        kv=kv,
        compute=compute,
        need=weights.total + kv + compute,
        ram=ram,
        gpu=gpu,
        layers=len(weights.layers) + 1,
        gpu_layers=gpu_layers,
        on_gpu=on_gpu,
        in_ram=rest,
        fits=ram is None or rest <= ram,
        largest_ctx=_largest(file.trained_context, lambda ctx: ram is None or in_ram(ctx) <= ram),
        trained_ctx=file.trained_context,
        bandwidth=bandwidth,
        limit_tps=limit,
        expected_tps=None if limit is None else limit * EFFICIENCY,
    )


def _compute_bytes(file: ModelFile, cells: int, n_batch: int, sequences: int, flash_attn: bool) -> int:
    """Bound on llama.cpp's buffer for one step: floats per row, found by comparing with what it reports."""
    width, inner = file.number("embedding_length"), file.number("feed_forward_length")
    heads = max(file.number("attention.head_count", 1), 1)
    scores, copies = (1.5 * cells, 4) if flash_attn else ((heads + 1) * cells, 3)
    rows = n_batch * (scores + copies * max(inner, 3 * width))
    return int(4 * (rows + sequences * len(file.metadata.get("tokenizer.ggml.tokens", ()))))


def _on_gpu(layers: list[int], kv_per_layer: int, compute: int, free: int | None) -> tuple[int, int]:
    """How many layers fit, the last ones first as llama.cpp places them, and their bytes with cache and buffers."""
    used, count = compute, 0
    for place, size in enumerate(reversed(layers)):
        more = size + (kv_per_layer if place else 0)  # the first one here is the output, which has no cache
        if free is None or used + more > free:
            break
        used, count = used + more, count + 1
    return count, used if count else 0


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


def gpu_memory() -> int | None:
    """Free bytes on the GPUs that the installed llama-cpp-python can use; None: none, or it cannot tell."""
    found = [device.free for device in devices() if device.kind in GPU_KINDS]
    return sum(found) if found else None


def read_bandwidth(size: int, *, threads: int | None = None) -> float:
    """Bytes per second that memory is read with, in pieces of ``size`` bytes (1 MiB to 256 MiB): best of 0.2 seconds.

    Small models stay in the processor's caches, so what is measured is a buffer as large as the weights.
    """
    import numpy as np

    threads = threads or os.cpu_count() or 1
    count = min(max(size, SMALLEST_SAMPLE), LARGEST_SAMPLE) // 8 // threads
    buffers = [np.ones(count, np.uint64) for _ in range(threads)]
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        end = time.perf_counter() + SAMPLE_SECONDS
        while best == float("inf") or time.perf_counter() < end:
            began = time.perf_counter()
            list(pool.map(np.bitwise_or.reduce, buffers))
            best = min(best, time.perf_counter() - began)
    return count * 8 * threads / best
