"""From a path to a model that can answer: check, probe, load, compile the chat template."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from chainops.engines.llama.context import ContextOptions
from chainops.engines.llama.gpu import GpuLayers, gpu_layers, warn_once
from chainops.engines.llama.model_file import ModelFile, check_model_file
from chainops.engines.llama.native import Native
from chainops.engines.llama.probe import ensure_probed
from chainops.engines.llama.prompt import PromptEncoder
from chainops.engines.llama.room import Layout, check_memory, plan_room
from chainops.engines.llama.template import ChatTemplate
from chainops.errors import SetupError

__all__ = ["DEFAULT_CONTEXT", "Loaded", "ModelOptions", "encoder_for", "load", "threads_for"]

DEFAULT_CONTEXT = 4096
SMALL_FILE = 100_000_000
CONTROL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Everything that decides whether two callers can share one loaded model.

    Args:
        path: absolute path of the GGUF file.
        sha256: hash that the file must have; empty: not compared.
        n_ctx: tokens of context of each call; None: what the model was trained with, at most 4096.
        n_batch: prompt tokens per step.
        n_parallel: calls that run at once.
        n_cells: tokens of all calls together; None: ``n_ctx`` for each that runs.
        n_kept: tokens of finished calls that are kept for the next ones; None: as many as ``n_cells``.
        max_waiting: calls that may wait for their turn.
        idle_seconds: unload when nobody has asked for so long; None: never.
        n_draft: guessed tokens that a step may check.
        draft_model: absolute path of a small model that guesses; empty: none.
        n_threads: None: 1 for files below 100 MB, else as many as there are cores.
        n_gpu_layers: layers on the GPU; -1: all; "auto": as many as fit there.
        flash_attn: use flash attention.
        kv_layout: see :class:`~chainops.engines.llama.room.Room`; "auto": cells of their own where the memory allows.
        kv_type: how keys and values are stored.
        probe: trial load in another process; "auto": if the hash is not given and the content did not pass before.
        chat_template: Jinja to use instead of the file's; empty: the file's.
    """

    path: str
    sha256: str = ""
    n_ctx: int | None = None
    n_batch: int = 256
    n_parallel: int = 8
    n_cells: int | None = None
    n_kept: int | None = None
    max_waiting: int = 1024
    idle_seconds: float | None = None
    n_draft: int = 0
    draft_model: str = ""
    n_threads: int | None = None
    n_gpu_layers: GpuLayers = "auto"
    flash_attn: bool = False
    kv_layout: Layout = "auto"
    kv_type: str = "f16"
    probe: bool | Literal["auto"] = "auto"
    chat_template: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory. ``sha256`` is empty when nobody gave or computed it."""

    native: Native
    encoder: PromptEncoder
    sha256: str
    file: ModelFile
    draft: Native | None = None

    def close(self) -> None:
        """Free what it takes."""
        self.native.close()
        if self.draft is not None:
            self.draft.close()


def load(options: ModelOptions, make_room: Callable[[int], None] = lambda _need: None) -> Loaded:
    """Load the model; takes from milliseconds to minutes and blocks.

    Args:
        make_room: is told how many bytes will be taken before they are, and may refuse.

    Raises:
        SetupError: any code that begins with ``setup.model``, ``setup.chat_template``,
            ``setup.llama_library``.
        MissingExtra: llama-cpp-python is not installed.
    """
    file = check_model_file(options.path, sha256=options.sha256)
    n_ctx = options.n_ctx or min(file.trained_context, DEFAULT_CONTEXT)
    layers = gpu_layers(
        file,
        options.n_gpu_layers,
        n_ctx=n_ctx,
        sequences=options.n_parallel,
        n_batch=options.n_batch,
        kv_type=options.kv_type,
        flash_attn=options.flash_attn,
    )
    on_gpu = 1.0 if layers < 0 else min(layers / (file.number("block_count") + 1), 1.0)
    room = plan_room(
        file,
        n_ctx=n_ctx,
        n_parallel=options.n_parallel,
        n_cells=options.n_cells,
        n_kept=options.n_kept,
        layout=options.kv_layout,
        kv_type=options.kv_type,
        on_gpu=on_gpu,
    )
    opened: list[Native] = []

    def tokenize(text: str, special: bool, start: bool) -> list[int]:
        return opened[0].tokenize(text, special=special, start=start)

    encoder = encoder_for(file, options.chat_template, tokenize)  # first: a wrong template costs no loading
    sha256 = file.sha256
    if options.probe is True or (options.probe == "auto" and not sha256):
        sha256 = ensure_probed(file, always=options.probe is True)
    context = ContextOptions(
        n_ctx=n_ctx,
        n_batch=min(options.n_batch, n_ctx),
        n_parallel=options.n_parallel,
        n_kept=room.n_kept,
        n_cells=room.n_cells,
        n_threads=options.n_threads or threads_for(file),
        n_gpu_layers=layers,
        flash_attn=options.flash_attn,
        unified=room.unified,
        kv_type=options.kv_type,
        n_draft=options.n_draft,
    )
    small = _draft_file(options.draft_model, file) if options.draft_model else None
    make_room(room.need + (0 if small is None else _draft_need(small, context)))
    try:
        native = Native(Path(options.path), context)
    except SetupError as error:
        if not layers:
            raise
        warn_once(f"{file.path.name} runs on the processor: it cannot be loaded onto the GPU ({error.message})")
        return load(replace(options, n_gpu_layers=0), make_room)
    draft = None
    if small is not None:
        cells = replace(context, n_cells=0, n_kept=0, unified=False, kv_type="f16", n_draft=0)
        try:
            draft = Native(small.path, replace(cells, n_threads=options.n_threads or threads_for(small)))
        except BaseException:
            native.close()
            raise

    opened.append(native)
    return Loaded(native, encoder, sha256, file, draft)


def encoder_for(file: ModelFile, chat_template: str, tokenize: Callable[[str, bool, bool], list[int]]) -> PromptEncoder:
    """What makes prompts for ``file``, by ``chat_template`` or, if that is empty, the one in the file.

    Raises:
        SetupError: code ``setup.chat_template``.
    """
    vocabulary = _Vocabulary(file)
    source = chat_template or str(file.metadata.get("tokenizer.chat_template", ""))
    template = ChatTemplate(source, bos_token=vocabulary.text("bos"), eos_token=vocabulary.text("eos"))
    return PromptEncoder(template, tokenize, control=vocabulary.control(), bos_token=vocabulary.text("bos"))


def _draft_file(path: str, large: ModelFile) -> ModelFile:
    """The small model at ``path``, if it can guess for ``large``."""
    small = check_model_file(path)
    if small.metadata["tokenizer.ggml.tokens"] != large.metadata["tokenizer.ggml.tokens"]:
        raise SetupError(
            f"{small.path.name} cannot guess for {large.path.name}: their vocabularies differ",
            hint="Give a smaller model of the same family, or leave draft_model out.",
            code="setup.draft_model",
        )
    ensure_probed(small)
    return small


def _draft_need(small: ModelFile, context: ContextOptions) -> int:
    cells = context.n_ctx * context.n_parallel
    return check_memory(small, context.n_ctx, cells=cells, on_gpu=1.0 if context.n_gpu_layers else 0.0)


def threads_for(file: ModelFile) -> int:
    """How many threads compute when nobody says: 1 for files below 100 MB, else one per core."""
    if file.size < SMALL_FILE:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Vocabulary:
    """The texts of special tokens, from the header of the file."""

    def __init__(self, file: ModelFile) -> None:
        self._metadata: dict[str, Any] = file.metadata
        self._tokens: tuple[bytes, ...] = file.metadata["tokenizer.ggml.tokens"]

    def text(self, name: str) -> str:
        number = self._metadata.get(f"tokenizer.ggml.{name}_token_id")
        return (
            self._tokens[number].decode(errors="replace") if number is not None and number < len(self._tokens) else ""
        )

    def control(self) -> list[str]:
        kinds = self._metadata.get("tokenizer.ggml.token_type", ())
        return [
            token.decode(errors="replace") for token, kind in zip(self._tokens, kinds, strict=False) if kind == CONTROL
        ]
