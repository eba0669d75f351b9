"""The vocabulary of a model without its weights: to count tokens where nothing is generated."""

from __future__ import annotations

import os
import threading
from functools import cache
from pathlib import Path
from typing import Any

from chainops.engines.llama.library import library, library_log
from chainops.engines.llama.model_file import check_model_file
from chainops.errors import SetupError

__all__ = ["Vocabulary", "vocabulary"]


class Vocabulary:
    """Counts tokens of text. Loading takes less than a second, also for large models.

    Args:
        path: a GGUF file with a model.

    Raises:
        SetupError: codes ``setup.model_file`` (and the like), ``setup.model_load``.
        MissingExtra: llama-cpp-python is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        self.lib: Any = library()
        self.name = Path(path).stem
        check_model_file(path)
        params = self.lib.llama_model_default_params()
        params.vocab_only = True
        self._lock = threading.Lock()
        with library_log(self.lib).recording(self.lib):
            self._model = self.lib.llama_model_load_from_file(os.fsencode(path), params)
        if not self._model:
            raise SetupError(
                f"llama.cpp cannot load the vocabulary of {path}: {library_log(self.lib).reason}",
                hint="Use a model that the installed llama-cpp-python knows, or install a newer one.",
                code="setup.model_load",
            )
        self._vocab = self.lib.llama_model_get_vocab(self._model)

    def count(self, text: str) -> int:
        """Tokens of ``text`` inside a message: control tokens are plain text."""
        raw = text.encode(errors="replace")
        with self._lock:
            count = self.lib.llama_tokenize(self._vocab, raw, len(raw), None, 0, False, False)
        return abs(int(count))


@cache
def vocabulary(path: str) -> Vocabulary:
    """The vocabulary of a file, loaded once per process."""
    return Vocabulary(path)
