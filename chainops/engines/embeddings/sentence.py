"""The embedder on sentence-transformers: any of its models, from a folder on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainops.errors import MissingExtra, SetupError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SentenceModel"]

WEIGHTS = ("*.safetensors", "*.bin", "modules.json", "config.json", "*/config.json", "sentence_bert_config.json")


class SentenceModel:
    """A model in memory. Nothing is fetched: what is not in the folder is an error.

    Args:
        folder: with a ``modules.json``, as ``SentenceTransformer.save`` writes it.

    Raises:
        MissingExtra: sentence-transformers is not installed.
        SetupError: the folder cannot be loaded (``setup.embedder``).
    """

    def __init__(self, folder: Path) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise MissingExtra("embeddings", package="sentence-transformers", needed_for="This embedder") from None
        try:
            self._model: Any = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        except Exception as error:  # noqa: BLE001 - it has many errors of its own
            raise SetupError(
                f"The embedder in {folder} cannot be loaded: {error}",
                hint="Give a folder that SentenceTransformer.save wrote.",
                code="setup.embedder",
            ) from None
        self.identity = f"sentence-transformers:{folder.name}:{_digest(folder)[:16]}:{self._model.max_seq_length}"
        self.dimensions = len(self.vectors(["x"])[0])

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors, in the order of ``texts``; shape ``(len(texts), dimensions)``, each of length 1."""
        found: NDArray[np.float32] = self._model.encode(
            list(texts), normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        return found


def _digest(folder: Path) -> str:
    """A hash of the files that decide the vectors."""
    total = hashlib.sha256()
    for file in sorted({path for pattern in WEIGHTS for path in folder.glob(pattern)}):
        with file.open("rb") as opened:
            total.update(file.relative_to(folder).as_posix().encode() + hashlib.file_digest(opened, "sha256").digest())
    return total.hexdigest()
