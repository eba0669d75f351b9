"""Digits, letters and signs of other scripts and widths, read as the plain ones that they look like."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import NamedTuple

__all__ = ["Folded", "fold"]

_BLANKS = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\ufe58\ufe63"
_DOTS = "\u2024\u3002\uff61\ufe52"
# what is not seen: soft hyphens, zero-width blanks and joiners, marks of direction, variation selectors, tags
_RANGES = (
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x180B, 0x180E), (0x200B, 0x200F), (0x202A, 0x202E),
    (0x2060, 0x206F), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xE0000, 0xE007F),
)  # fmt: skip
_UNSEEN = re.compile(f"[{''.join(f'{chr(low)}-{chr(high)}' for low, high in _RANGES)}]+")


_ESCAPED = re.compile(r"\\[nrt]")


class Folded(NamedTuple):
    """A text to search, and where its characters stand in the original."""

    text: str
    places: list[int] | None
    """The place of each character, and the end; None: they stand where they stood."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The part of the original that ``text[start:end]`` was read from."""
        return (start, end) if self.places is None else (self.places[start], self.places[end - 1] + 1)


def fold(text: str) -> Folded:
    """``text`` with plain digits, blanks, hyphens and letters for those that look like them, without unseen characters.

    The ends of lines that JSON writes inside texts, ``\\n``, are ends of lines.

    >>> fold("\\u0664\\uff11\\u00a0a\\u200bb\\u2011c").text
    '41 ab-c'
    """
    if "\\" in text:
        text = _ESCAPED.sub(" \n", text)
    if text.isascii():
        return Folded(text, None)
    foreign, table = _foreign()
    if foreign.isdisjoint(text):
        return Folded(text, None)
    plain = text.translate(table)
    if not _UNSEEN.search(plain):
        return Folded(plain, None)
    places: list[int] = []
    done = 0
    for unseen in _UNSEEN.finditer(plain):
        places += range(done, unseen.start())
        done = unseen.end()
    places += range(done, len(plain) + 1)
    return Folded(_UNSEEN.sub("", plain), places)


@cache
def _foreign() -> tuple[frozenset[str], dict[int, str]]:
    table = dict.fromkeys(map(ord, _BLANKS), " ") | dict.fromkeys(map(ord, _DASHES), "-")
    table |= dict.fromkeys(map(ord, _DOTS), ".")
    for char in map(chr, (*range(0xFF01, 0xFF5F), 0xFE69, 0xFE6A, 0xFE6B, *range(0x1D400, 0x1D7CC))):
        plain = unicodedata.normalize("NFKC", char)
        if len(plain) == 1 and plain.isascii():
            table[ord(char)] = plain
    digits = filter(str.isdecimal, map(chr, range(0x660, 0x1FC00)))
    table |= {ord(char): str(unicodedata.decimal(char)) for char in digits}
    unseen = (char for low, high in _RANGES for char in map(chr, range(low, high + 1)))
    return frozenset([*map(chr, table), *unseen]), table
