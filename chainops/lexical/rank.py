"""Which texts answer a question: BM25, ranks of several judges fused, and novelty."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

__all__ = ["bm25", "centrality", "fuse", "ranks"]


def bm25(query: Sequence[str], texts: Sequence[Sequence[str]], *, k1: float = 1.2, b: float = 0.5) -> list[float]:
    """How well each of ``texts`` (as terms) fits ``query``; 0 where no word is shared.

    Source: Robertson and Zaragoza, The Probabilistic Relevance Framework (2009); idf as in Lucene.
    """
    scores = [0.0] * len(texts)
    mean = sum(map(len, texts)) / max(len(texts), 1) or 1.0
    wanted = set(query)
    postings: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for place, words in enumerate(texts):
        for word, times in Counter(w for w in words if w in wanted).items():
            postings[word].append((place, times))
    for found in postings.values():
        idf = math.log(1 + (len(texts) - len(found) + 0.5) / (len(found) + 0.5))
        for place, times in found:
            scores[place] += idf * times * (k1 + 1) / (times + k1 * (1 - b + b * len(texts[place]) / mean))
    return scores


def centrality(texts: Sequence[Sequence[str]]) -> list[float]:
    """How much each text has in common with the others: the mean weight of its words, for where nothing is asked."""
    spread = Counter(word for words in texts for word in set(words))
    return [
        sum(math.log(1 + spread[word]) for word in set(words)) / (len(words) + 4) ** 0.5 if words else 0.0
        for words in texts
    ]


def ranks(scores: Sequence[float]) -> list[int]:
    """The place of each in the order from the best, 0 first; of equals the earlier one is better."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    found = [0] * len(scores)
    for rank, place in enumerate(order):
        found[place] = rank
    return found


def fuse(judges: Sequence[Sequence[float]], *, k: float) -> list[float]:
    """Reciprocal rank fusion, scaled so that the best has 1. Whom a judge gives 0 or less, it does not rank.

    Source: Cormack, Clarke and Büttcher, SIGIR 2009.
    """
    total = [0.0] * (len(judges[0]) if judges else 0)
    for scores in judges:
        for place, rank in enumerate(ranks(scores)):
            if scores[place] > 0:
                total[place] += 1 / (k + rank)
    best = max(total, default=0.0) or 1.0
    return [score / best for score in total]
