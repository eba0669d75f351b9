"""Ways to make passages shorter: ours, and those to compare it with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from chainops.lexical.rank import bm25
from chainops.lexical.words import terms
from chainops.middleware.compress.bench.questions import Question
from chainops.middleware.compress.text import compress_text
from chainops.middleware.compress.units import units_of

if TYPE_CHECKING:
    from chainops.embedding import Embedder

__all__ = ["Method", "methods"]

Count = Callable[[str], int]
Method = Callable[[Question, int, Count], Awaitable[str]]


def methods(embedder: Embedder | None = None) -> dict[str, Method]:
    """By name; ``ours+meaning`` only with an embedder."""

    async def ours(question: Question, budget: int, count: Count) -> str:
        return (await compress_text(question.context, budget, query=question.text, count=count)).text

    async def ours_by_meaning(question: Question, budget: int, count: Count) -> str:
        short = await compress_text(question.context, budget, query=question.text, count=count, embedder=embedder)
        return short.text

    found: dict[str, Method] = {
        "head": _head,
        "tail": _tail,
        "trim_messages": _trim_messages,
        "TextRank": _text_rank,
        "BM25": _bm25,
        "ours": ours,
    }
    return found if embedder is None else {**found, "ours+meaning": ours_by_meaning}


async def _head(question: Question, budget: int, count: Count) -> str:
    return _fill(_sentences(question), range(10**9), budget, count)


async def _tail(question: Question, budget: int, count: Count) -> str:
    texts = _sentences(question)
    return _fill(texts, range(len(texts) - 1, -1, -1), budget, count)


async def _trim_messages(question: Question, budget: int, count: Count) -> str:
    """LangChain's, one message per passage, the last ones kept, parts of messages allowed."""
    from langchain_core.messages import HumanMessage, trim_messages

    kept = trim_messages(
        [HumanMessage(passage) for passage in question.passages],
        max_tokens=budget,
        token_counter=lambda messages: sum(count(str(message.text)) for message in messages),
        strategy="last",
        allow_partial=True,
    )
    return "\n\n".join(str(message.text) for message in kept)


async def _text_rank(question: Question, budget: int, count: Count) -> str:
    """Sentences by PageRank on shared words. Source: Mihalcea and Tarau, EMNLP 2004."""
    import numpy as np

    texts = _sentences(question)
    words = [set(terms(text)) for text in texts]
    logs = [float(np.log(len(w) + 1)) for w in words]
    likeness = np.zeros((len(texts), len(texts)))
    for i in range(len(texts)):
        for j in range(i):
            if shared := len(words[i] & words[j]):
                likeness[i, j] = likeness[j, i] = shared / (logs[i] + logs[j] or 1.0)
    sums = likeness.sum(axis=0)
    step = likeness / np.where(sums > 0, sums, 1)
    rank = np.ones(len(texts))
    for _ in range(30):
        rank = 0.15 + 0.85 * step @ rank
    return _fill(texts, [int(i) for i in np.argsort(-rank, kind="stable")], budget, count)


async def _bm25(question: Question, budget: int, count: Count) -> str:
    texts = _sentences(question)
    scores = bm25(terms(question.text), [terms(text) for text in texts], b=0.75)
    return _fill(texts, sorted(range(len(texts)), key=lambda i: -scores[i]), budget, count)


def _sentences(question: Question) -> list[str]:
    return [unit.text for unit in units_of(question.context)]


def _fill(texts: Sequence[str], order: Sequence[int], budget: int, count: Count) -> str:
    """Whole sentences in this order while they fit, put together as they stood."""
    kept: list[int] = []
    left = budget
    for i in order[: len(texts)]:
        size = count(texts[i])
        if size <= left:
            kept.append(i)
            left -= size
    return " ".join(texts[i].strip() for i in sorted(kept))
