"""How hard a question is for a model, from its words; where those do not decide, from its meaning."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chainops.middleware.route.exemplars import EASY, HARD

if TYPE_CHECKING:
    from chainops.embedding import Embedder

__all__ = ["Difficulty", "Meaning", "difficulty"]

WEIGHTS = {"length": 0.9, "write": 1.6, "reason": 1.5, "formal": 1.2, "parts": 0.7, "code": 1.1, "lookup": -1.5}
BIAS = -1.1
"""Set by hand, so that the sentences of ``exemplars`` fall on their sides; ``chainops route calibrate`` sets where the
tiers begin, from calls of your own."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WRITE = _set(
    "draft write compose rewrite redraft design devise develop create plan outline propose prepare implement refactor"
)
_REASON = _set(
    "compare contrast analyse analyze evaluate assess argue justify prove derive why tradeoff tradeoffs trade-off "
    "trade-offs implication implications optimise optimize debug diagnose critique reconcile interpret estimate"
)
_FORMAL = _set(
    "clause clauses contract contracts agreement agreements liability liabilities indemnification indemnify warranty "
    "warranties jurisdiction statute statutory regulation regulatory compliance complies mou theorem proof algorithm "
    "complexity integral hypothesis hypotheses regression architecture distributed concurrent concurrency migration "
    "schema strategy diagnosis differential pharmacology amortization valuation derivative litigation"
)
_CONDITIONS = _set("must should including considering given least most")
_LOOKUP = re.compile(
    r"\W*(?:(?:hi|hello|hey|thanks|thank you|ok|please)\b"
    r"|(?:what|who|when|where|which|how (?:many|much|long|old|far|do i|can i))\b"
    r"|(?:is|are|does|do|can|may|will) (?:the|my|i|we|you|there|it)\b|(?:show|list|find|translate|define|spell)\b)"
)
_CODE = re.compile(r"```|\bdef \w+\(|\bclass \w+[:({]|;\n|}\n|traceback|stack trace|segfault")
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
READ = 2000
"""Characters of a question that are looked at; of its length, all count."""


@dataclass(frozen=True, slots=True)
class Difficulty:
    """A score from 0 (any model) to 1 (the best one), and what it was made of.

    Args:
        score: the logistic function of the weighted sum of the features.
        features: each from 0 to 1.
        meaning: what the embedder said, 0 to 1; None: it was not asked.
    """

    score: float
    features: dict[str, float]
    meaning: float | None = None


def difficulty(text: str) -> Difficulty:
    """The difficulty of a question in English, from its words alone."""
    low = text[:READ].lower()
    listed = _WORD.findall(low)
    words = set(listed)
    count = len(listed) * max(1.0, len(text) / READ)
    parts = low.count("?") + low.count(";") + len(words & _CONDITIONS)
    features = {
        "length": min(1.0, math.log1p(count) / 6.0),
        "write": 0.0 if words.isdisjoint(_WRITE) else 1.0,
        "reason": 0.0 if words.isdisjoint(_REASON) and "step by step" not in low else 1.0,
        "formal": min(1.0, len(words & _FORMAL) / 2.0),
        "parts": min(1.0, max(0, parts - 1) / 4.0),
        "code": 1.0 if _CODE.search(low) else 0.0,
        "lookup": 1.0 if count <= 30 and _LOOKUP.match(low) else 0.0,
    }
    total = BIAS + sum(WEIGHTS[name] * value for name, value in features.items())
    return Difficulty(1.0 / (1.0 + math.exp(-2.0 * total)), features)


class Meaning:
    """Whether a question is more like easy or like hard ones: nearest centroid of their embeddings.

    Args:
        embedder: makes the vectors.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self._centroids: Any = None

    async def score(self, text: str) -> float:
        """0: like the easy ones, 1: like the hard ones; the logistic function of the difference of both cosines."""
        import numpy as np

        if self._centroids is None:
            easy, hard = await self.embedder.embed(list(EASY)), await self.embedder.embed(list(HARD))
            centroids = np.stack([np.asarray(side).mean(axis=0) for side in (easy, hard)])
            self._centroids = centroids / np.linalg.norm(centroids, axis=1, keepdims=True)
        vector = np.asarray((await self.embedder.embed([text[:2000]]))[0])
        easy_cosine, hard_cosine = self._centroids @ vector
        return float(1.0 / (1.0 + math.exp(-20.0 * float(hard_cosine - easy_cosine))))
