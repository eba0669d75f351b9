"""The part of a text that answers a question: whole sentences in their order, with what names their source."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chainops.lexical.rank import bm25, centrality, fuse
from chainops.lexical.words import content_stems, terms
from chainops.middleware.compress.blocks import blocks_of
from chainops.middleware.compress.cover import Cover, by_worth
from chainops.middleware.compress.units import Unit, units_of

if TYPE_CHECKING:
    from chainops.embedding import Embedder

__all__ = ["Extract", "Piece", "extract"]

BLOCK_WEIGHT, UNIT_K, BLOCK_K, SIZE_POWER, BASE, FITTING = 6.0, 10.0, 1.0, 0.5, 1.0, 1.0
"""Found on questions of HaluEval (see the page on compression): what counts beside the ranks. A paragraph's weight is
squared and counts six times what its sentence has: its own rank, one for standing there, one for a number where a
number is asked for. The sum is divided by the root of the length."""
REDUNDANT = 0.8
"""A unit that shares more of its words than this with one that is kept already says nothing new."""
MAX_EMBEDDED = 256
LEAST_CLIP = 10
_LEANS = re.compile(r"\s*(?:he|she|it|they|this|these|that|those|his|her|its|their|such)\b", re.IGNORECASE)
_DIGIT = re.compile(r"\d")
_EMPTY_LINE = re.compile(r"\n[ \t]*\n")
_ASKS_NUMBER = re.compile(
    r"\b(?:when|year|date|number|percent(?:age)?|population|price|cost|age|length|amount|"
    r"how (?:many|much|old|long|far|large|tall|high|big|often|fast|heavy))\b",
    re.IGNORECASE,
)
_CITED = re.compile(r"(?:\s*\[\d+(?:[,-]\s*\d+)*\])+\s*$")
Count = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Piece:
    """What became of one unit.

    Args:
        text: as it was.
        shown: as it is now; "" where it was left out.
        why: ``answers`` (it fits the question), ``names the source``, ``asked`` (it is the question), ``clipped``,
            ``said already``, ``not asked for``.
        score: how well it fits, 0 to 16.
    """

    text: str
    shown: str
    why: str
    score: float


@dataclass(frozen=True, slots=True)
class Extract:
    """A shortened text.

    Args:
        text: what is left.
        tokens: of it.
        pieces: every unit of the text, in order.
    """

    text: str
    tokens: int
    pieces: list[Piece]


async def extract(
    text: str,
    budget: int,
    *,
    query: str,
    count: Count,
    embedder: Embedder | None = None,
    keep: Sequence[str] = (),
) -> Extract:
    """At most ``budget`` tokens of ``text``. Shorter than that, it stays as it is.

    Args:
        query: what is asked; empty: what is most central, and what the user of a transcript says.
        count: counts tokens.
        embedder: a second judge beside words; None: words alone.
        keep: units with one of these texts stay in any case.
    """
    units = units_of(text)
    whole = count(text)
    if whole <= budget or not units:
        return Extract(text, whole, [Piece(unit.text, unit.text, "answers", 0.0) for unit in units])
    asked, words = terms(query), [terms(unit.text) for unit in units]
    blocks = blocks_of(units, words, asked)
    scores = await _score(units, words, blocks, query, asked, embedder)
    block = next(places for places in blocks if max(range(len(units)), key=scores.__getitem__) in places)
    chosen = _choose(units, scores, Cover(asked, words), set(block), budget, count, keep)
    return _assemble(text, units, scores, chosen, budget, count)


async def _score(
    units: Sequence[Unit],
    words: list[list[str]],
    blocks: list[list[int]],
    query: str,
    asked: list[str],
    embedder: Embedder | None,
) -> list[float]:
    """How well each unit fits: its own ranks, and those of the block that it stands in."""
    of_blocks = [[word for place in places for word in words[place]] for places in blocks]
    if not asked:
        own = fuse([centrality(words)], k=UNIT_K)
        return [s + 2.0 * (u.speaker in ("user", "human", "customer")) for s, u in zip(own, units, strict=True)]
    unit_judges, block_judges = [bm25(asked, words)], [bm25(asked, of_blocks)]
    if embedder is not None:
        by_meaning = await _by_meaning(units, query, embedder, unit_judges[0])
        unit_judges.append(by_meaning)
        block_judges.append([max(by_meaning[place] for place in places) for places in blocks])
    own, around = fuse(unit_judges, k=UNIT_K), fuse(block_judges, k=BLOCK_K)
    found = [0.0] * len(units)
    number = _ASKS_NUMBER.search(query) is not None
    for weight, places in zip(around, blocks, strict=True):
        for place in places:
            fits = FITTING if number and _DIGIT.search(units[place].text) else 0.0
            found[place] = own[place] + BLOCK_WEIGHT * weight**2 * (BASE + own[place] + fits)
    return found


async def _by_meaning(units: Sequence[Unit], query: str, embedder: Embedder, lexical: list[float]) -> list[float]:
    """Cosine of each unit to the query; of a very long text only the units that words put first, -1 for the others."""
    order = sorted(range(len(units)), key=lambda i: -lexical[i])[:MAX_EMBEDDED]
    vectors = await embedder.embed([units[i].text for i in order] + [query])
    found = [-1.0] * len(units)
    for place, cosine in zip(order, vectors[:-1] @ vectors[-1], strict=True):
        found[place] = float(cosine)
    return found


def _choose(
    units: Sequence[Unit],
    scores: list[float],
    cover: Cover,
    block: set[int],
    budget: int,
    count: Count,
    keep: Sequence[str],
) -> dict[int, tuple[str, str]]:
    """What is shown of which units, and why; only units of ``block`` are clipped."""
    sizes = [count(unit.text) for unit in units]
    worth = [s / max(size, 1) ** SIZE_POWER for s, size in zip(scores, sizes, strict=True)]
    for place, unit in enumerate(units):  # "He was ..." needs the sentence before
        if place and _LEANS.match(unit.text) and units[place - 1].paragraph == unit.paragraph:
            worth[place - 1] = max(worth[place - 1], 0.9 * worth[place])
    heads = {unit.paragraph: place for place, unit in enumerate(units) if unit.head}
    chosen: dict[int, tuple[str, str]] = {}
    seen: list[frozenset[str]] = []
    left = budget
    for place, unit in enumerate(units):
        if any(part and part in unit.text for part in keep):
            chosen[place] = unit.text, "asked"
            left -= sizes[place]
    for place in by_worth(worth, cover):
        unit = units[place]
        if place in chosen or unit.head:
            continue
        says = content_stems(unit.text)
        if any(len(says & other) > REDUNDANT * len(says | other) for other in seen):
            continue
        head = heads.get(unit.paragraph)
        price = sizes[place] + (sizes[head] if head is not None and head not in chosen else 0)
        if price <= left:
            chosen[place] = unit.text, "answers"
            seen.append(says)
            cover.say(place)
        elif place in block and not unit.whole and left - (price - sizes[place]) >= LEAST_CLIP:
            shown = _clip(unit.text, left - (price - sizes[place]), count)
            if not shown:
                continue
            chosen[place] = shown, "clipped"
            price += count(shown) - sizes[place]
        else:
            continue
        if head is not None and head not in chosen:
            chosen[head] = units[head].text, "names the source"
        left -= price
    return chosen


def _clip(text: str, room: int, count: Count) -> str:
    """The beginning of ``text`` in at most ``room`` tokens, with its citation; "" where nothing useful fits."""
    cited = _CITED.search(text)
    mark = cited[0].strip() if cited else ""
    words = re.findall(r"\S+\s*", text[: cited.start()] if cited else text)
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        if count(_clipped(words, middle, mark)) <= room:
            low = middle
        else:
            high = middle - 1
    return _clipped(words, low, mark) if low >= 4 else ""


def _clipped(words: Sequence[str], size: int, mark: str) -> str:
    return "".join(words[:size]).rstrip(" \n,;:(") + "…" + (f" {mark}" if mark else "")


def _assemble(
    text: str,
    units: Sequence[Unit],
    scores: Sequence[float],
    chosen: dict[int, tuple[str, str]],
    budget: int,
    count: Count,
) -> Extract:
    """Put what was chosen together; where joins cost more than was counted, the least of it is left out again."""
    order = sorted(chosen, key=lambda i: (chosen[i][1] == "asked", scores[i]))
    while True:
        short = _joined(text, units, chosen)
        tokens = count(short)
        gone = next((place for place in order if place in chosen and chosen[place][1] != "names the source"), None)
        if tokens <= budget or len(chosen) <= 1 or gone is None or chosen[gone][1] == "asked":
            break
        del chosen[gone]
        for place, unit in enumerate(units):  # a source of nothing
            paragraph = {units[i].paragraph for i in chosen if not units[i].head}
            if unit.head and place in chosen and unit.paragraph not in paragraph:
                del chosen[place]
    kept = [content_stems(shown) for shown, _ in chosen.values()]
    pieces = []
    for place, unit in enumerate(units):
        shown, why = chosen.get(place, ("", ""))
        if not why:
            says = content_stems(unit.text)
            why = "said already" if any(says and says <= other for other in kept) else "not asked for"
        pieces.append(Piece(unit.text, shown, why, round(scores[place], 3)))
    return Extract(short, tokens, pieces)


def _joined(text: str, units: Sequence[Unit], chosen: dict[int, tuple[str, str]]) -> str:
    """The shown parts: white space as it was between neighbours, a blank or an empty line over gaps."""
    out, last = "", -1
    for place in sorted(chosen):
        shown = chosen[place][0]
        if last >= 0:
            before, unit = units[last], units[place]
            if place == last + 1 and chosen[last][0] == before.text:
                out += text[before.end : unit.start]
            else:
                line = unit.whole or "\n" in text[before.end - 1 : unit.start] or before.paragraph != unit.paragraph
                empty = _EMPTY_LINE.search(text, before.start, unit.start + 1)
                out = out.rstrip() + ("\n\n" if empty else "\n" if line else " ")
        out += shown
        last = place
    return out.strip("\n")
