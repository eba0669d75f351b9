"""The embedder on llama.cpp: a GGUF file of an encoder such as BERT."""

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

__all__ = ["LlamaEmbeddingModel"]

ENCODERS = frozenset({"bert", "nomic-bert", "jina-bert-v2", "roberta", "xlm-roberta", "modern-bert"})
MAX_TOKENS, BATCH_TOKENS, MAX_TEXTS = 256, 2048, 32
MEAN, NOT_CAUSAL = 1, 1


class LlamaEmbeddingModel:
    """A model in memory; its vectors are the mean over a text's tokens, with length 1. One thread at a time.

    Args:
        path: the GGUF file. Its tables are checked before llama.cpp sees it.
        threads: that a batch is computed with.

    Raises:
        MissingExtra: llama-cpp-python is not installed.
        SetupError: the file is no encoder, is damaged, or cannot be loaded (``setup.embedder``).
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        arch = _architecture(path)
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
                self._context = lib.llama_init_from_model(self._model, _context_params(lib, threads))
            if not self._context:
                raise _wrong(path, f"llama.cpp cannot load it: {library_log(lib).reason}")
        self._vocab = lib.llama_model_get_vocab(self._model)
        self._batch = lib.llama_batch_init(BATCH_TOKENS, 0, 1)
        self.dimensions = int(lib.llama_model_n_embd(self._model))
        self.identity = f"llama:{path.stem}:{arch}:{file_sha256(path)[:16]}:{MAX_TOKENS}"

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors, in the order of ``texts``; shape ``(len(texts), dimensions)``, each of length 1.

        Raises:
            CallError: llama.cpp failed (``call.embed``).
        """
        import numpy as np

        tokens = [self._tokens(text) for text in texts]
        out = np.empty((len(texts), self.dimensions), np.float32)
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        begin = 0
        while begin < len(order):
            end, total = begin, 0
            while end < len(order) and end - begin < MAX_TEXTS and total + len(tokens[order[end]]) <= BATCH_TOKENS:
                total += len(tokens[order[end]])
                end += 1
            chosen = order[begin:end]
            out[chosen] = self._encode([tokens[i] for i in chosen])
            begin = end
        return out

    def _tokens(self, text: str) -> list[int]:
        raw = text.encode(errors="replace")
        room = len(raw) + 8
        found = (ctypes.c_int32 * room)()
        count = self._lib.llama_tokenize(self._vocab, raw, len(raw), found, room, True, False)
        if count < 0:
            raise CallError(f"llama.cpp cannot tokenize a text of {len(raw)} bytes", code="call.tokenize")
        ids = list(found[:count])
        return ids if count <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], ids[-1]]  # the last one closes the text

    def _encode(self, rows: list[list[int]]) -> NDArray[np.float32]:
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
                raise CallError(f"llama.cpp gave no vector for text {sequence}", code="call.embed")
            found.append(np.ctypeslib.as_array(pointer, shape=(self.dimensions,)).copy())
        vectors: NDArray[np.float32] = np.stack(found)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

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
        raise _wrong(path, str(error)) from None
    except OSError as error:
        raise _wrong(path, error.strerror or str(error)) from None


def _context_params(lib: Any, threads: int) -> Any:
    params = lib.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = BATCH_TOKENS
    params.n_seq_max = MAX_TEXTS
    params.n_threads = params.n_threads_batch = threads
    params.embeddings, params.pooling_type, params.attention_type = True, MEAN, NOT_CAUSAL
    params.kv_unified = True
    params.no_perf = True
    return params


def _wrong(path: Path, problem: str) -> SetupError:
    return SetupError(
        f"{path} cannot be used as an embedder: {problem}",
        hint="Give the GGUF file of an encoder, whole.",
        code="setup.embedder",
    )
