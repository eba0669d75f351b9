"""Writes small LoRA adapters, also broken ones."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .tiny_gguf import F32, STRING, encode

Pair = tuple[tuple[tuple[int, ...], Sequence[float]], tuple[tuple[int, ...], Sequence[float]]]


def write_adapter(
    path: Path,
    pairs: Mapping[str, Pair],
    *,
    arch: str = "llama",
    alpha: float = 1.0,
    metadata: Mapping[str, tuple[int, Any]] | None = None,
) -> Path:
    """An adapter with ``pairs``: name of a tensor -> (shape, values) of its halves a and b, shapes as ggml has them."""
    keys: dict[str, tuple[int, Any]] = {
        "general.type": (STRING, "adapter"),
        "general.architecture": (STRING, arch),
        "adapter.type": (STRING, "lora"),
        "adapter.lora.alpha": (F32, alpha),
        **(metadata or {}),
    }
    tensors = {}
    for name, ((a_shape, a), (b_shape, b)) in pairs.items():
        tensors[f"{name}.lora_a"] = (a_shape, array("f", a))
        tensors[f"{name}.lora_b"] = (b_shape, array("f", b))
    path.write_bytes(encode(keys, tensors))
    return path


def one_step(width: int, rows: int, token: int, following: int, weight: float = 10.0) -> Pair:
    """Rank 1 on ``output.weight`` of a chain model: after ``token`` comes ``following``, whatever came before."""
    a, b = [0.0] * width, [0.0] * rows
    a[token], b[following] = 1.0, weight
    return ((width, 1), a), ((1, rows), b)
