"""Telegram style: the words that carry the message, without those that only hold it together."""

from __future__ import annotations

import re

from chainops.lexical.words import NEGATIONS, STOP

__all__ = ["terse"]

_TOKEN = re.compile(r"\s+|[^\W_]+(?:['’][^\W_]+)?|.", re.DOTALL)
_KEEP = NEGATIONS.union(
    (
        "to",
        "from",
        "before",
        "after",
        "under",
        "over",
        "until",
        "since",
        "between",
        "against",
        "only",
        "if",
        "or",
        "than",
    )
)
_FILLER = frozenset(
    re.findall(
        r"\S+",
        """sure hello hi hey thanks thank okay ok certainly absolutely actually basically really very quite simply
        kindly well please want wants like need needs try i'm i'd i'll i've you're you'll it's that's let's some
        many any""",
    )
)


def terse(text: str) -> str:
    """``text`` without articles, pronouns, auxiliary verbs and courtesies. Made for English.

    Numbers, names, negations, and words that turn the meaning (before, until, only ...) stay; code stays as it is.
    """
    parts = re.split(r"(```.*?```|`[^`]*`)", text)
    return "".join(part if i % 2 else _terse(part) for i, part in enumerate(parts)).lstrip(" ,;.!")


def _terse(text: str) -> str:
    out: list[str] = []
    for token in _TOKEN.findall(text):
        low = token.lower().replace("’", "'")
        if low not in _KEEP and (low in _FILLER or low in STOP):
            continue
        out.append(token)
    short = re.sub(r"[ \t]+", " ", "".join(out))
    short = re.sub(r" ([,.;:!?])", r"\1", short)
    return re.sub(r"(?<=\n)[ ,;.!]+|(?<=[.!?:]) ?[,;.!]+(?=\s)", "", short)
