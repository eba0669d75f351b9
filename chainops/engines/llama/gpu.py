"""How many layers of a model go to the GPU, and what is said when none can."""

from __future__ import annotations

import logging
from functools import cache
from typing import Literal

from chainops.engines.llama.fit import fit, gpu_memory
from chainops.engines.llama.library import library
from chainops.engines.llama.model_file import ModelFile

__all__ = ["GpuLayers", "choose_layers", "gpu_layers", "warn_once"]

GpuLayers = int | Literal["auto"]
"""Layers on the GPU: a number, -1: all, "auto": as many as fit."""

log = logging.getLogger("chainops")


def gpu_layers(
    file: ModelFile, wanted: GpuLayers, *, n_ctx: int, sequences: int, n_batch: int, kv_type: str, flash_attn: bool
) -> int:
    """The layers for the GPU, by what the installed build can do and what is free there; -1: all. Warns once if the
    processor must do what was meant for a GPU."""
    if wanted == 0:
        return 0
    can, free = bool(library().llama_supports_gpu_offload()), gpu_memory()
    fitting = 0
    if wanted == "auto" and free is not None:
        found = fit(
            file, n_ctx=n_ctx, sequences=sequences, n_batch=n_batch, kv_type=kv_type, flash_attn=flash_attn, gpu=free
        )
        fitting = -1 if found.gpu_layers == found.layers else found.gpu_layers
    layers, problem = choose_layers(wanted, can=can, free=free, fitting=fitting)
    if problem:
        warn_once(f"{file.path.name} runs on the processor: {problem}")
    return layers


def choose_layers(wanted: GpuLayers, *, can: bool, free: int | None, fitting: int) -> tuple[int, str]:
    """The layers, and why there are none where some were expected.

    Args:
        can: the build has GPU support.
        free: bytes on the GPU; None: there is no device.
        fitting: how many fit there; -1: all.
    """
    if wanted == 0 or (wanted == "auto" and not can):
        return 0, ""
    if not can:
        return 0, f"n_gpu_layers={wanted}, but this build of llama-cpp-python has no GPU support"
    if free is None:
        return 0, "this build of llama-cpp-python has GPU support, but finds no device"
    if wanted == "auto":
        return fitting, "" if fitting else f"no layer fits into the {free:,} bytes that are free on the GPU"
    return wanted, ""


@cache
def warn_once(text: str) -> None:
    """Say it once in this process."""
    log.warning(text)
