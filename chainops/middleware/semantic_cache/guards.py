"""What tells two questions apart that a vector takes for one: numbers, negation, names, opposites, order, small words.

Rules for English. They only ever refuse: a question that is refused is asked.
"""

from __future__ import annotations

import re
from collections import Counter

from chainops.middleware.semantic_cache.lexicon import FUNCTION, NEGATIONS, NUMBERS, OPPOSITES, TELLING

__all__ = ["SOFT", "difference", "plain_form"]

_TOKEN = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*", re.UNICODE)
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*%?|[$\u20ac\u00a3]")
SOFT = frozenset({"words"})
"""Reasons that count only where the known questions around do not agree on one answer."""

_TOUCHING = 0.6
"""Questions that share so many of the words that say something are turned around by a negation."""

_SHARED = 0.6
"""Questions that share so many of their words are told apart by the words that they do not share."""


def plain_form(text: str) -> str:
    """The text with its white space evened, without marks at its end, its first letter small: what stays is the same
    question."""
    even = " ".join(text.split()).rstrip(" ?!.,;:")
    return even[:1].lower() + even[1:] if even[1:2].islower() or even[1:2] in ("", " ", "'") else even


def difference(one: str, other: str) -> str:
    """Why two questions may not share an answer: "numbers", "negation", "opposites", "names", "order" or "words".

    "" where nothing tells them apart.
    """
    a, b = _tokens(one), _tokens(other)
    if _numbers(one, a) != _numbers(other, b):
        return "numbers"
    if _negations(a) != _negations(b) and _overlap(a, b) >= _TOUCHING:
        return "negation"
    small_a, small_b = Counter(map(str.lower, a)), Counter(map(str.lower, b))
    only_a, only_b = small_a - small_b, small_b - small_a
    if any(frozenset((x, y)) in OPPOSITES for x in only_a for y in only_b):
        return "opposites"
    if _names(one, a) != _names(other, b) and not _names_in_both(one, a, other, b):
        return "names"
    said_a, said_b = _said(a), _said(b)
    if Counter(said_a) == Counter(said_b):
        return "order" if said_a != said_b else ""
    return _small_change(small_a, small_b, only_a, only_b)


def _tokens(text: str) -> list[str]:
    return [token.replace("\u2019", "'") for token in _TOKEN.findall(text)]


def _numbers(text: str, tokens: list[str]) -> Counter[str]:
    found = Counter(_NUMBER.findall(text))
    found.update(token.lower() for token in tokens if token.lower() in NUMBERS)
    found.update(token.lower() for token in tokens if any(c.isdigit() for c in token) and not token.isdigit())
    return found


def _negations(tokens: list[str]) -> int:
    count = 0
    for token in map(str.lower, tokens):
        bare = token.replace("'", "")
        count += bare in NEGATIONS or token.endswith("n't")
    return count % 2


def _names(text: str, tokens: list[str]) -> frozenset[str]:
    """Words with capitals that do not begin a sentence, words in capitals, words in quotation marks."""
    starts = {m.group(1).lower() for m in re.finditer(r"(?:^|[.!?:]\s+)[\"'\u201c(]*([^\W\d_]+)", text)}
    found = set()
    for token in tokens:
        inner = any(c.isupper() for c in token[1:])
        name = token[:1].isupper() and token.lower() not in starts and not re.match(r"I('|$)", token)
        if inner or name:
            found.add(token.lower().removesuffix("'s"))
    return frozenset(found)


def _names_in_both(one: str, a: list[str], other: str, b: list[str]) -> bool:
    """Names that stand in the other question too, in small letters or at its beginning, are no difference."""
    small = [{t.lower().removesuffix("'s") for t in tokens} for tokens in (a, b)]
    return _names(one, a) <= small[1] and _names(other, b) <= small[0]


def _overlap(a: list[str], b: list[str]) -> float:
    """The share of the shorter question's words that say something and stand in the other one too."""
    one, other = (Counter(w for w in _said(side) if w.replace("'", "") not in NEGATIONS) for side in (a, b))
    return sum((one & other).values()) / max(min(sum(one.values()), sum(other.values())), 1)


def _said(tokens: list[str]) -> list[str]:
    """The words that say something, without their endings, in their order."""
    return [_stem(token.lower()) for token in tokens if token.lower() in TELLING or token.lower() not in FUNCTION]


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


def _small_change(a: Counter[str], b: Counter[str], only_a: Counter[str], only_b: Counter[str]) -> str:
    """Two questions that are the same but for a few words are the same only if those say nothing."""
    shared = sum((a & b).values())
    if shared / max(min(sum(a.values()), sum(b.values())), 1) < _SHARED:
        return ""
    telling = [w for w in (*only_a, *only_b) if w in TELLING or w not in FUNCTION]
    return "words" if telling else ""
