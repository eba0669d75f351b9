"""The embedder as LangChain has embeddings, for vector stores and retrievers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from langchain_core.embeddings import Embeddings

if TYPE_CHECKING:
    from chainops.engines.embeddings.shared import BatchedEmbedder

__all__ = ["LocalEmbeddings"]


class LocalEmbeddings(Embeddings):
    """LangChain's ``Embeddings`` over the shared embedder.

    Args:
        path: a folder that ``chainops embedder export`` made; None: the usual place.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = path

    @property
    def embedder(self) -> BatchedEmbedder:
        """The embedder, loaded at the first use."""
        from chainops.engines.embeddings.shared import embedder

        return embedder(self.path)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector per text."""
        return self.embedder.embed_sync(texts).tolist()  # type: ignore[no-any-return]

    def embed_query(self, text: str) -> list[float]:
        """The vector of a text."""
        return self.embedder.embed_sync([text])[0].tolist()  # type: ignore[no-any-return]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """As :meth:`embed_documents`."""
        import asyncio

        found = await asyncio.to_thread(lambda: self.embedder)
        return (await found.embed(texts)).tolist()  # type: ignore[no-any-return]

    async def aembed_query(self, text: str) -> list[float]:
        """As :meth:`embed_query`."""
        return (await self.aembed_documents([text]))[0]
