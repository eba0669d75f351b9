"""The embedder of an application, for the layers that use one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainops.settings import Settings

if TYPE_CHECKING:
    from chainops.embedding import Embedder

__all__ = ["embedder_of"]


def embedder_of(settings: Settings) -> Embedder | None:
    """The embedder that settings name, or the one in the usual place where there is one; loaded when first used."""
    from chainops.engines.embeddings.place import MODEL, default_place
    from chainops.engines.embeddings.shared import LazyEmbedder

    if settings.embeddings.path is not None:
        return LazyEmbedder(settings.embeddings.path)
    return LazyEmbedder() if (default_place() / MODEL).is_file() else None
