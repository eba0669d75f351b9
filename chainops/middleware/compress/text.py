"""A single text made shorter: the same stages as for prompts, without messages."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chainops.lexical.words import content_stems
from chainops.middleware.compress.duplicates import without_repeats
from chainops.middleware.compress.extract import Extract, extract
from chainops.middleware.compress.shorten import Ran
from chainops.middleware.compress.stages import Strategy, sharing
from chainops.middleware.compress.structure import lossless, restructure
from chainops.middleware.compress.terse import terse

if TYPE_CHECKING:
    from chainops.embedding import Embedder

__all__ = ["ShortText", "compress_text"]


@dataclass(frozen=True, slots=True)
class ShortText:
    """A text that was made shorter.

    Args:
        text: what is left.
        before, after: tokens.
        stages: what each stage did.
        extract: what became of each sentence, for explanations; None where extraction had nothing to do.
    """

    text: str
    before: int
    after: int
    stages: list[Ran]
    extract: Extract | None


async def compress_text(
    text: str,
    budget: int,
    *,
    count: Callable[[str], int],
    query: str = "",
    strategy: Strategy = "balanced",
    embedder: Embedder | None = None,
) -> ShortText:
    """``text`` in at most ``budget`` tokens, as far as ``strategy`` allows; what fits stays as it is.

    Args:
        count: counts tokens, for example ``ChatLlama.count_tokens``.
        query: what the text is for; empty: what is most central in it.
        strategy: ``lossless`` changes only the form, and may leave the text longer than ``budget``; ``aggressive`` also
            writes in telegram style. ``trim`` and ``last_n`` are for prompts, and extract as ``balanced`` does.
        embedder: a second judge beside words.
    """
    before = count(text)
    if before <= budget:
        return ShortText(text, before, before, [], None)
    near = strategy != "lossless"
    asked = content_stems(query)
    wanted = sharing(asked)
    steps: list[tuple[str, Callable[[str], str]]] = [
        ("duplicates", lambda t: without_repeats(t, {}, 0, near=near, asked=asked)[0]),
        ("structure", lossless if not near else lambda t: restructure(t, relevant=wanted)),
    ]
    if strategy == "aggressive":
        steps.append(("terse", terse))
    ran: list[Ran] = []
    size = before
    for name, step in steps:
        if size <= budget:
            return ShortText(text, before, size, ran, None)
        started = time.perf_counter()
        short = step(text)
        tokens = count(short)
        if tokens < size:
            text, after = short, tokens
        else:
            after = size
        ran.append(Ran(name, size, after, round((time.perf_counter() - started) * 1e3, 3)))
        size = after
    if size <= budget or strategy == "lossless":
        return ShortText(text, before, size, ran, None)
    started = time.perf_counter()
    found = await extract(text, budget, query=query, count=count, embedder=embedder)
    ran.append(Ran("extract", size, found.tokens, round((time.perf_counter() - started) * 1e3, 3)))
    return ShortText(found.text, before, found.tokens, ran, found)
