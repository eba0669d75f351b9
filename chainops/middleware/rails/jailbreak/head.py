"""The head: how much a window of text is like an attack."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from chainops.errors import SetupError
from chainops.middleware.rails.jailbreak.signs import SIGNS, signs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["WEIGHTS", "Head", "features", "load_head", "windows"]

WEIGHTS = Path(__file__).parent.parent / "weights"
WORDS, OVERLAP = 110, 30  # about 200 tokens of the embedder, which reads 256


class Head(NamedTuple):
    """Weights of a logistic regression or a small network, and the exemplars that it compares with.

    Args:
        weights: of the hidden units; without any, of what the head sees (see :func:`features`).
        attacks, harmless: exemplars, each of length 1: ``(n, dimensions)``.
        flag, block: scores from which on a text is flagged and blocked.
        embedder: identity of the embedder that it was made with.
        card: where the data comes from, and what was measured.
        hidden, offsets: ``(inputs, units)`` and ``(units,)`` of one layer of rectified units; None: there is none.
    """

    weights: NDArray[np.float32]
    bias: float
    attacks: NDArray[np.float32]
    harmless: NDArray[np.float32]
    flag: float
    block: float
    embedder: str
    card: dict[str, Any]
    hidden: NDArray[np.float32] | None = None
    offsets: NDArray[np.float32] | None = None

    def scores(self, vectors: NDArray[np.float32], texts: Sequence[str]) -> NDArray[np.float32]:
        """The score of each window, in [0, 1]."""
        import numpy as np

        x = features(vectors, texts, self.attacks, self.harmless)
        if self.hidden is not None and self.offsets is not None:
            x = np.maximum(x @ self.hidden + self.offsets, 0)
        z = np.clip(x @ self.weights + self.bias, -30, 30)
        return np.asarray(1 / (1 + np.exp(-z)), dtype=np.float32)


def features(
    vectors: NDArray[np.float32],
    texts: Sequence[str],
    attacks: NDArray[np.float32],
    harmless: NDArray[np.float32],
) -> NDArray[np.float32]:
    """What the head sees of each window."""
    import numpy as np

    near = np.stack([_nearest(vectors, attacks), _nearest(vectors, harmless)], axis=1)
    found = np.array([signs(text) for text in texts], dtype=np.float32).reshape(len(texts), len(SIGNS))
    many = np.minimum((found > 0).sum(axis=1, keepdims=True), 8) / 4
    length = np.array([[min(math.log1p(len(text.split())), 5)] for text in texts], dtype=np.float32) / 5
    return np.concatenate([vectors, found, near, many, length], axis=1, dtype=np.float32)


def _nearest(vectors: NDArray[np.float32], exemplars: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean likeness to the three nearest exemplars: one alone may be an accident."""
    import numpy as np

    likeness = vectors @ exemplars.T
    return np.asarray(np.sort(likeness, axis=1)[:, -3:].mean(axis=1), dtype=np.float32)


def windows(text: str) -> list[str]:
    """``text`` in pieces that the embedder reads whole, each overlapping the one before."""
    words = text.split()
    if len(words) <= WORDS and len(text) <= WORDS * 12:
        return [" ".join(words)] if words else []
    cut = [word[i : i + 60] for word in words for i in range(0, len(word), 60)]
    step = WORDS - OVERLAP
    return [" ".join(cut[i : i + WORDS]) for i in range(0, max(1, len(cut) - OVERLAP), step)]


@lru_cache(maxsize=8)
def load_head(path: Path) -> Head:
    """The head in a file that the training script wrote.

    Raises:
        SetupError: ``setup.rail``: the file is missing, or is none.
    """
    import json

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as data:
            card = json.loads(str(data["card"]))
            return Head(
                weights=data["weights"].astype(np.float32),
                bias=float(data["bias"]),
                attacks=data["attacks"].astype(np.float32),
                harmless=data["harmless"].astype(np.float32),
                flag=float(data["flag"]),
                block=float(data["block"]),
                embedder=str(data["embedder"]),
                card=card,
                hidden=data["hidden"].astype(np.float32) if "hidden" in data else None,
                offsets=data["offsets"].astype(np.float32) if "hidden" in data else None,
            )
    except (OSError, KeyError, ValueError) as error:
        raise SetupError(
            f"{path} has no weights of a rail: {error}",
            hint="Make them with the scripts in recipes/rails_head.",
            code="setup.rail",
        ) from None
