"""Room for many calls: how many tokens, laid out how, and whether the memory holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from chainops.engines.llama.memory import KV_BYTES, available_memory, kv_bytes_per_token
from chainops.engines.llama.model_file import ModelFile
from chainops.errors import SetupError

__all__ = ["Layout", "Room", "check_memory", "fitting_cells", "plan_room"]

Layout = Literal["auto", "unified", "partitioned"]
"""How the cells of the key-value cache belong to calls."""

FREE_SHARE = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a context is made for.

    Args:
        n_ctx: tokens of context of one call.
        n_cells: tokens of all calls together.
        n_kept: tokens of finished calls that are kept outside of it.
        unified: all calls share the cells; else each has ``n_ctx`` of its own.
        need: bytes of memory, estimated.
    """

    n_ctx: int
    n_cells: int
    n_kept: int
    unified: bool
    need: int


def plan_room(
    file: ModelFile,
    *,
    n_ctx: int,
    n_parallel: int,
    n_cells: int | None = None,
    n_kept: int | None = None,
    layout: Layout = "auto",
    kv_type: str = "f16",
    on_gpu: float = 0.0,
) -> Room:
    """Room for ``n_parallel`` calls of ``n_ctx`` tokens; what is None is chosen by the memory there is.

    Raises:
        SetupError: ``setup.option``: the options contradict each other; ``setup.model_memory``: it does not fit.
    """
    wanted = n_ctx * n_parallel
    if n_cells is not None and layout == "partitioned":
        raise SetupError(
            f"n_cells={n_cells} cannot be given with kv_layout='partitioned', where each call has cells of its own",
            hint="Leave n_cells out, or give kv_layout='unified'.",
            code="setup.option",
        )
    if n_cells is not None and n_cells < n_ctx:
        raise SetupError(
            f"n_cells={n_cells} is less than the {n_ctx} tokens of context that one call may take",
            hint="Give n_cells of at least n_ctx, or a smaller n_ctx.",
            code="setup.option",
        )
    cells, kept = n_cells or wanted, n_kept
    if n_cells is None and layout != "partitioned":
        size = 0 if on_gpu else file.size
        room = available_memory()
        cells = fitting_cells(file.metadata, size, room, least=n_ctx, wanted=wanted, value_bytes=KV_BYTES[kv_type])
        if kept is None and cells < min(wanted, 2 * n_ctx):
            kept = 0  # memory is short
    unified = layout == "unified" or (layout == "auto" and (n_cells is not None or cells < wanted))
    kept = cells if kept is None else kept
    need = check_memory(file, n_ctx, cells=cells, kept=kept, on_gpu=on_gpu, value_bytes=KV_BYTES[kv_type])
    return Room(n_ctx=n_ctx, n_cells=cells, n_kept=kept, unified=unified, need=need)


def fitting_cells(
    metadata: Mapping[str, Any],
    file_size: int,
    room: int | None,
    *,
    least: int,
    wanted: int,
    value_bytes: float = 2,
) -> int:
    """How many tokens of context to make room for, where nobody said it: ``wanted``, or what the memory allows.

    At most 40 % of what the weights leave free, so that as many tokens can be kept outside the context as well.

    Args:
        metadata: of the model file.
        file_size: bytes of weights that go into this memory.
        room: bytes that are available; None: unknown.
        least: never less than this.
        wanted: never more than this.
        value_bytes: bytes per number of the cache.
    """
    if room is None:
        return wanted
    each = max(kv_bytes_per_token(metadata, value_bytes=value_bytes), 1)
    return max(min(int(FREE_SHARE * max(room - file_size, 0)) // each, wanted), least)


def check_memory(
    file: ModelFile, n_ctx: int, *, cells: int = 0, kept: int = 0, on_gpu: float = 0.0, value_bytes: float = 2
) -> int:
    """Refuse a context that cannot fit, before llama.cpp allocates it and the system kills the process.

    Returns the bytes that it needs.

    The estimate is file size plus key-value cache of ``cells`` tokens (0: ``n_ctx``), each times ``1 - on_gpu``, and
    what is kept of ``kept`` tokens.

    Raises:
        SetupError: code ``setup.model_memory``.
    """
    per_token = kv_bytes_per_token(file.metadata, value_bytes=value_bytes)
    cells = cells or n_ctx
    need = int((file.size + per_token * cells) * (1 - on_gpu)) + per_token * kept
    room = available_memory()
    if room is None or need <= room:
        return need
    share = (cells * (1 - on_gpu) + kept) / n_ctx  # of memory per token of context
    fits = int(max(room - file.size * (1 - on_gpu), 0) / (max(per_token, 1) * share))
    raise SetupError(
        f"{file.path.name} with n_ctx={n_ctx} needs about {need:,} bytes of memory "
        f"({cells} cells, {kept} kept tokens), {room:,} are available",
        hint=f"Give n_ctx of at most {fits}, or a smaller n_parallel, n_cells or n_kept."
        if fits
        else "Use a smaller model, or a machine with more memory.",
        code="setup.model_memory",
    )
