"""An encoder such as BERT on llama.cpp: batches of token rows in, numbers of each row out."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainops.engines.llama.gguf import BadFileError
from chainops.engines.llama.library import library, library_log
from chainops.engines.llama.model_file import check_encoder_file, file_sha256
from chainops.errors import CallError, SetupError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FIRST", "MAX_TOKENS", "MEAN", "RANK", "LlamaEncoder", "wrong"]

ENCODERS = frozenset({"bert", "nomic-bert", "jina-bert-v2", "roberta", "xlm-roberta", "modern-bert"})
MAX_TOKENS, BATCH_TOKENS, MAX_TEXTS = 256, 2048, 32
MEAN, FIRST, RANK = 1, 2, 4
"""What llama.cpp makes of the vectors of a row's tokens: their mean, the first one, or a score."""
NOT_CAUSAL = 1


class LlamaEncoder:
    """A model in memory. One thread at a time.

    Args:
        path: the GGUF file. Its tables are checked before llama.cpp sees it.
        threads: that a batch is computed with.
        pooling: what is made of a row.

    Raises:
        MissingExtra: llama-cpp-python is not installed.
        SetupError: the file is no encoder, is damaged, or cannot be loaded (``setup.embedder``).
    """

    def __init__(self, path: Path, threads: int = 1, *, pooling: int = MEAN) -> None:
        self.arch = _architecture(path)
        self._lib = lib = library()
        self._model: Any = None
        self._context: Any = None
        with library_log(lib).recording(lib):
            params = lib.llama_model_default_params()
            params.n_gpu_layers = 0
            if b"AMX_INT8 = 1" in lib.llama_print_system_info():
                params.use_extra_bufts = False  # such builds crash in quantised matrix products
            self._model = lib.llama_model_load_from_file(os.fsencode(path), params)
            if self._model:
                self._context = lib.llama_init_from_model(self._model, _context_params(lib, threads, pooling))
            if not self._context:
                raise wrong(path, f"llama.cpp cannot load it: {library_log(lib).reason}")
        self._vocab = lib.llama_model_get_vocab(self._model)
        self._batch = lib.llama_batch_init(BATCH_TOKENS, 0, 1)
        self.width = 1 if pooling == RANK else int(lib.llama_model_n_embd(self._model))
        self.identity = f"llama:{path.stem}:{self.arch}:{file_sha256(path)[:16]}:{MAX_TOKENS}"

    def encode(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """The numbers of each row of tokens, in the order of ``rows``; shape ``(len(rows), width)``.

        Raises:
            CallError: llama.cpp failed (``call.embed``).
        """
        import numpy as np

        out = np.empty((len(rows), self.width), np.float32)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        begin = 0
        while begin < len(order):
            end, total = begin, 0
            while end < len(order) and end - begin < MAX_TEXTS and total + len(rows[order[end]]) <= BATCH_TOKENS:
                total += len(rows[order[end]])
                end += 1
            chosen = order[begin:end]
            out[chosen] = self._encode([rows[i] for i in chosen])
            begin = end
        return out

    def tokens(self, text: str, *, whole: bool = True) -> list[int]:
        """The tokens of a text; ``whole``: with the marks around it."""
        raw = text.encode(errors="replace")
        room = len(raw) + 8
        found = (ctypes.c_int32 * room)()
        count = self._lib.llama_tokenize(self._vocab, raw, len(raw), found, room, whole, False)
        if count < 0:
            raise CallError(f"llama.cpp cannot tokenize a text of {len(raw)} bytes", code="call.tokenize")
        return list(found[:count])

    def _encode(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        import numpy as np

        batch, place = self._batch, 0
        for sequence, ids in enumerate(rows):
            for position, token in enumerate(ids):
                batch.token[place], batch.pos[place] = token, position
                batch.n_seq_id[place], batch.seq_id[place][0], batch.logits[place] = 1, sequence, 1
                place += 1
        batch.n_tokens = place
        if code := self._lib.llama_encode(self._context, batch):
            raise CallError(f"llama_encode failed with code {code} on {len(rows)} texts", code="call.embed")
        found = []
        for sequence in range(len(rows)):
            pointer = self._lib.llama_get_embeddings_seq(self._context, sequence)
            if not pointer:
                raise CallError(f"llama.cpp gave nothing for text {sequence}", code="call.embed")
            found.append(np.ctypeslib.as_array(pointer, shape=(self.width,)).copy())
        return np.stack(found)

    def __del__(self) -> None:
        if getattr(self, "_context", None):
            self._lib.llama_batch_free(self._batch)
            self._lib.llama_free(self._context)
        if getattr(self, "_model", None):
            self._lib.llama_model_free(self._model)


def _architecture(path: Path) -> str:
    try:
        return check_encoder_file(path, ENCODERS)
    except BadFileError as error:
        raise wrong(path, str(error)) from None
    except OSError as error:
        raise wrong(path, error.strerror or str(error)) from None


def _context_params(lib: Any, threads: int, pooling: int) -> Any:
    params = lib.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = BATCH_TOKENS
    params.n_seq_max = MAX_TEXTS
    params.n_threads = params.n_threads_batch = threads
    params.embeddings, params.pooling_type, params.attention_type = True, pooling, NOT_CAUSAL
    params.kv_unified = True
    params.no_perf = True
    return params


def wrong(path: Path, problem: str) -> SetupError:
    """The file cannot be used."""
    return SetupError(
        f"{path} cannot be used as an embedder: {problem}",
        hint="Give the GGUF file of an encoder, whole.",
        code="setup.embedder",
    )
