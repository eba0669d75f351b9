"""How a context of llama.cpp is made."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KV_TYPES", "ContextOptions"]

KV_TYPES = {"f16": 1, "q8_0": 8, "q4_0": 2}
"""Name: ggml's number of the type."""


@dataclass(frozen=True, slots=True)
class ContextOptions:
    """How a model is opened.

    Args:
        n_ctx: tokens of context of one request.
        n_batch: prompt tokens per step; between steps a request can be cancelled.
        n_parallel: requests that run at once.
        n_kept: tokens of finished sequences to keep in memory for their prefixes.
        n_cells: tokens of all sequences together; 0: ``n_ctx`` for each that runs.
        unified: all sequences share the cells, so that common prefixes are stored and read once, but each row of a
            step looks at everybody's cells; else each sequence has ``n_ctx`` cells of its own.
        n_draft: guessed tokens that a step may check, of all sequences together.
        kv_type: how keys and values are stored, a key of ``KV_TYPES``; other than f16 needs ``flash_attn``.
        n_threads: threads that compute.
        n_gpu_layers: layers to put on the GPU; -1: all.
        flash_attn: use flash attention (never decided automatically: it can change an answer).
    """

    n_ctx: int
    n_batch: int = 256
    n_parallel: int = 1
    n_kept: int = 0
    n_cells: int = 0
    n_threads: int = 1
    n_gpu_layers: int = 0
    flash_attn: bool = False
    unified: bool = True
    kv_type: str = "f16"
    n_draft: int = 0
