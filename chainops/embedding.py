"""What an embedder is to the layers that use one: caches, compression, prompts, routes, rails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Embedder", "fits"]


class Embedder(Protocol):
    """Turns texts into vectors whose dot product is their likeness. Made by ``chainops.engines.embeddings``."""

    @property
    def identity(self) -> str:
        """Which model in which engine and precision: part of every key and index that holds its vectors."""

    @property
    def dimensions(self) -> int:
        """Numbers in one vector."""

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of shape ``(len(texts), dimensions)``; each row has length 1, so that ``a @ b`` is the cosine."""


def fits(embedder: Embedder, made_with: str) -> bool:
    """Whether numbers learnt on the vectors of the embedder ``made_with``, an identity, hold for this one.

    They do for the same embedder, and for one that stores the same weights in half precision: its vectors differ by
    less than a thousandth.
    """
    return made_with in (embedder.identity, getattr(embedder, "stands_for", None))
