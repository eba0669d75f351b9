"""Greedy answers of a GGUF file through llama.cpp's C interface, one conversation at a time.

Enough for evaluation and tests; the engine of chainops is what an application uses.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import TracebackType
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from chatml import ChatTemplate, Message, Tool


def _drop(level: int, text: bytes, user_data: ctypes.c_void_p) -> None:
    """Swallow one log line of llama.cpp."""


_SILENT = llama.llama_log_callback(_drop)


class GreedyModel:
    """A model file, loaded with one thread; use it as a context manager."""

    def __init__(self, path: Path, *, context: int = 1024) -> None:
        llama.llama_log_set(_SILENT, ctypes.c_void_p(0))
        llama.llama_backend_init()
        settings = llama.llama_model_default_params()
        settings.use_extra_bufts = False  # the AMX kernels crash with some compilers (llama.cpp issue 20824)
        self._model = llama.llama_model_load_from_file(str(path).encode(), settings)
        if not self._model:
            raise ValueError(f"{path} is not a model that llama.cpp can load")
        self._vocabulary = llama.llama_model_get_vocab(self._model)
        self._size = llama.llama_vocab_n_tokens(self._vocabulary)
        window = llama.llama_context_default_params()
        window.n_ctx = window.n_batch = window.n_ubatch = context
        window.n_threads = window.n_threads_batch = 1
        self._context = llama.llama_init_from_model(self._model, window)
        source = llama.llama_model_chat_template(self._model, None)
        self.template = ChatTemplate(source.decode())

    def __enter__(self) -> GreedyModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        llama.llama_free(self._context)
        llama.llama_model_free(self._model)

    def tokenize(self, text: str) -> list[int]:
        """Token ids; marks such as ``<|im_end|>`` are one token."""
        raw = text.encode()
        buffer = (llama.llama_token * (len(raw) + 8))()
        count = llama.llama_tokenize(self._vocabulary, raw, len(raw), buffer, len(buffer), False, True)
        return list(buffer[:count])

    def _piece(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(64)
        length = llama.llama_token_to_piece(self._vocabulary, token, buffer, len(buffer), 0, False)
        return buffer.raw[:length]

    def _best_token(self, tokens: list[int]) -> int:
        """Decode these tokens and return the most likely next one."""
        array: Any = (llama.llama_token * len(tokens))(*tokens)
        code = llama.llama_decode(self._context, llama.llama_batch_get_one(array, len(tokens)))
        if code != 0:
            raise RuntimeError(f"llama_decode returned {code} for {len(tokens)} tokens")
        scores = np.ctypeslib.as_array(llama.llama_get_logits_ith(self._context, -1), shape=(self._size,))
        return int(scores.argmax())

    def complete(self, prompt: str, *, limit: int = 160) -> str:
        """What the model writes after the prompt, up to its end mark or `limit` tokens."""
        llama.llama_memory_clear(llama.llama_get_memory(self._context), True)
        answer = b""
        token = self._best_token(self.tokenize(prompt))
        for _ in range(limit):
            if llama.llama_vocab_is_eog(self._vocabulary, token):
                break
            answer += self._piece(token)
            token = self._best_token([token])
        return answer.decode(errors="replace")

    def answer(self, messages: list[Message], tools: list[Tool] | None = None) -> str:
        """The text of the assistant's next turn, rendered by the template inside the file."""
        return self.complete(self.template.render(messages, tools, prompt=True))
