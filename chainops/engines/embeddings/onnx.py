"""The embedder on onnxruntime: one thread, texts of like length together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chainops.engines.embeddings.place import MODEL, TOKENIZER, ModelFolder
from chainops.errors import MissingExtra, SetupError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["OnnxModel"]

BATCH_TOKENS = 8192
"""Tokens, padding included, that go through the model at once."""


class OnnxModel:
    """A model in memory. Its vectors do not depend on which texts are asked together, but for the last bits.

    Args:
        folder: model and tokenizer.
        threads: that one text, or batch, is computed with.

    Raises:
        MissingExtra: onnxruntime or tokenizers is not installed.
        SetupError: onnxruntime cannot load the file (``setup.embedder``).
    """

    def __init__(self, folder: ModelFolder, threads: int = 1) -> None:
        try:
            import onnxruntime
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtra("onnx", package=error.name or "onnxruntime", needed_for="The embedder") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(folder.path / MODEL), options, providers=["CPUExecutionProvider"]
            )
            self._tokenizer: Any = Tokenizer.from_file(str(folder.path / TOKENIZER))
        except Exception as error:  # noqa: BLE001 - onnxruntime and tokenizers have errors of their own
            raise SetupError(
                f"The embedder in {folder.path} cannot be loaded: {error}",
                hint="Make it again: chainops embedder export",
                code="setup.embedder",
            ) from None
        self._tokenizer.enable_truncation(max_length=int(folder.card["max_tokens"]))
        self._tokenizer.no_padding()
        self.identity, self.stands_for = folder.identity, folder.stands_for
        self.dimensions = int(folder.card["dimensions"])

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors, in the order of ``texts``; shape ``(len(texts), dimensions)``, each of length 1."""
        import numpy as np

        ids = [encoding.ids for encoding in self._tokenizer.encode_batch([_clean(text) for text in texts])]
        out = np.empty((len(texts), self.dimensions), np.float32)
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        begin = 0
        while begin < len(order):
            end = begin + 1
            while end < len(order) and len(ids[order[end]]) * (end + 1 - begin) <= BATCH_TOKENS:
                end += 1
            chosen = order[begin:end]
            longest = len(ids[chosen[-1]])
            tokens = np.zeros((len(chosen), longest), np.int64)
            mask = np.zeros_like(tokens)
            for row, i in enumerate(chosen):
                tokens[row, : len(ids[i])] = ids[i]
                mask[row, : len(ids[i])] = 1
            out[chosen] = self._session.run(None, {"input_ids": tokens, "attention_mask": mask})[0]
            begin = end
        return out


def _clean(text: str) -> str:
    """Half a character, which no UTF-8 has, becomes a question mark."""
    return text.encode("utf-8", "replace").decode()
