"""Found documents in the order in which they answer a question, by a cross-encoder in a GGUF file."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import Field, PrivateAttr

from chainops.engines.embeddings.encoder import MAX_TOKENS, RANK, LlamaEncoder, wrong
from chainops.engines.llama.gguf import read_header

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LlamaReranker"]

HEADS = frozenset({"cls.weight", "cls.output.weight"})
QUESTION_SHARE = 0.5
"""A question may take so much of the room that question and text share."""


class LlamaReranker(BaseDocumentCompressor):
    """A cross-encoder (BERT, Jina, XLM-RoBERTa and the like, with a head for scores) as LangChain's reranker.

    The model is loaded at the first use and reads question and text together, 256 tokens at most: the text is cut.
    """

    path: str
    """The GGUF file."""
    top_n: int = Field(default=4, ge=1)
    """How many documents ``compress_documents`` leaves."""
    threads: int = Field(default=1, ge=1)
    """That compute."""

    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @cached_property
    def _model(self) -> LlamaEncoder:
        path = Path(self.path).expanduser()
        model = LlamaEncoder(path, self.threads, pooling=RANK)
        if not HEADS & {tensor.name for tensor in read_header(path).tensors}:
            raise wrong(path, "it has no head for scores (cls.weight or cls.output.weight)")
        return model

    def scores(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """How well each text answers, as the model's head says: more is better, the scale is the model's. Blocks.

        Raises:
            SetupError: the file cannot be used (``setup.embedder``).
            CallError: llama.cpp failed (``call.embed``).
        """
        with self._lock:
            model = self._model
            begin, *asked, end = model.tokens(question)
            asked = asked[: int(MAX_TOKENS * QUESTION_SHARE)]
            room = MAX_TOKENS - len(asked) - 3
            rows = [[begin, *asked, end, *model.tokens(text)[1:-1][:room], end] for text in texts]
            return model.encode(rows)[:, 0]

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """The ``top_n`` best, the best first, with ``metadata["relevance_score"]``."""
        scores = self.scores(query, [document.page_content for document in documents])
        best = sorted(range(len(documents)), key=lambda place: -scores[place])[: self.top_n]
        return [_scored(documents[place], float(scores[place])) for place in best]

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """:meth:`compress_documents` in another thread."""
        return await asyncio.to_thread(self.compress_documents, documents, query, callbacks)


def _scored(document: Document, score: float) -> Document:
    metadata: dict[str, Any] = {**document.metadata, "relevance_score": score}
    return document.model_copy(update={"metadata": metadata})
