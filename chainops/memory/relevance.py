"""Which kept texts a question is about: words and meaning, their ranks fused."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chainops.lexical.rank import bm25, fuse
from chainops.lexical.words import terms

if TYPE_CHECKING:
    from chainops.embedding import Embedder

__all__ = ["relevance", "vectors_of"]

RANK_K = 10.0


async def vectors_of(texts: Sequence[str], embedder: Embedder | None) -> list[dict[str, str]]:
    """The vector of each text as it is kept with it: half precision, and who made it; {} without an embedder."""
    if embedder is None or not texts:
        return [{} for _ in texts]
    rows = (await embedder.embed(texts)).astype("<f2")
    return [{"by": embedder.identity, "data": base64.b64encode(row.tobytes()).decode()} for row in rows]


async def relevance(
    query: str,
    items: Sequence[Any],
    *,
    field: str,
    embedder: Embedder | None,
    likeness: float,
) -> list[float]:
    """How well each of ``items`` fits ``query``, 0 to 1; 0: neither words nor meaning have to do with it.

    Args:
        items: of a store; their own ``score`` counts where the store has an index.
        field: of their values that has the text; ``vector`` has what :func:`vectors_of` made.
        embedder: compares by meaning where the store has no index; None: words alone.
        likeness: cosine from which on something fits by its meaning.
    """
    texts = [str(item.value.get(field, "")) for item in items]
    judges = [bm25(terms(query), [terms(text) for text in texts])]
    if any(getattr(item, "score", None) is not None for item in items):
        judges.append([_from(item.score or 0.0, likeness) for item in items])
    elif embedder is not None and items:
        cosines = await _cosines(query, texts, [item.value.get("vector") or {} for item in items], embedder)
        judges.append([_from(cosine, likeness) for cosine in cosines])
    return fuse(judges, k=RANK_K)


def _from(cosine: float, likeness: float) -> float:
    return cosine if cosine >= likeness else 0.0


async def _cosines(
    query: str, texts: Sequence[str], vectors: Sequence[Mapping[str, str]], embedder: Embedder
) -> list[float]:
    """Cosine of each text to the query; vectors that another embedder made are made again."""
    import numpy as np

    stale = [i for i, vector in enumerate(vectors) if vector.get("by") != embedder.identity]
    made = await embedder.embed([query, *(texts[i] for i in stale)])
    fresh = dict(zip(stale, made[1:], strict=True))
    rows = [
        fresh[i] if i in fresh else np.frombuffer(base64.b64decode(vector["data"]), "<f2").astype(np.float32)
        for i, vector in enumerate(vectors)
    ]
    return [float(row @ made[0]) for row in rows]
