"""Words of a text as ranking and comparing need them: stems, stop words, negations, numbers."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["NEGATIONS", "STOP", "content_stems", "same_key", "stem", "terms"]

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_TOKEN = re.compile(r"\d+(?:[.,:/-]\d+)*|[^\W_]+(?:['’][^\W_]+)?|[^\s\w]")
STOP = frozenset(
    re.findall(
        r"\S+",
        """a an the of in on at to for from by with and or but if as is are was were be been being am do does did have
        has had will would can could should shall may might must i you he she it we they me him her us them my your his
        its our their this that these those there here who whom whose which what when where how why than then so such
        into onto about also just very please""",
    )
)
NEGATIONS = frozenset(
    re.findall(
        r"\S+",
        """not no never none nobody nothing neither nor without cannot can't won't don't doesn't didn't isn't aren't
        wasn't weren't shouldn't wouldn't couldn't mustn't haven't hasn't hadn't unless except off""",
    )
)
FILLER = frozenset(("a", "an", "the", "please", "just", "really", "very", "also", "so", "well", "ok", "okay"))
_ENDINGS = ("ies", "ing", "ed", "es", "s", "ly")


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """``word`` in small letters without a common English ending; words of other languages stay what they are."""
    word = word.lower().replace("’", "'").removesuffix("'s")
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) > len(ending) + 3:
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word


def terms(text: str) -> list[str]:
    """Stems of the words that say something, in order: no stop words. Chinese and Japanese go by pairs of signs."""
    found = []
    for word in _WORD.findall(text):
        low = word.lower()
        if low in STOP:
            continue
        if "\u3040" <= word[0] <= "\u9fff" and len(word) > 1:
            found += [word[i : i + 2] for i in range(len(word) - 1)]
        else:
            found.append(stem(low))
    return found


def content_stems(text: str) -> frozenset[str]:
    """The stems as a set."""
    return frozenset(terms(text))


def same_key(text: str) -> tuple[str, ...]:
    """Equal for texts that say the same: words and marks that carry meaning, in their order, with every number and
    negation. Only case, white space, articles, fillers and marks of emphasis may differ."""
    found = []
    for token in _TOKEN.findall(text):
        low = token.lower().replace("’", "'")
        if low in FILLER or low in ".,;:!*_`#\"'()“”‘’":
            continue
        found.append(low)
    return tuple(found)
