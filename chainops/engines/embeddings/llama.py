"""The embedder on llama.cpp: a GGUF file of an encoder such as BERT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chainops.engines.embeddings.encoder import MAX_TOKENS, MEAN, LlamaEncoder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LlamaEmbeddingModel"]


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
        self._encoder = LlamaEncoder(path, threads, pooling=MEAN)
        self.identity, self.dimensions = self._encoder.identity, self._encoder.width

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors, in the order of ``texts``; shape ``(len(texts), dimensions)``, each of length 1.

        Raises:
            CallError: llama.cpp failed (``call.embed``).
        """
        import numpy as np

        vectors = self._encoder.encode([self._tokens(text) for text in texts])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    def _tokens(self, text: str) -> list[int]:
        ids = self._encoder.tokens(text)
        return ids if len(ids) <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], ids[-1]]  # the last one closes the text
