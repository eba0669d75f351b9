"""What a text is made of, as far as tokenizers care: the columns of the tables for models without a tokenizer here."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["FEATURES", "features", "weigh"]

FEATURES = (
    *("word", "letter", "long", "upper", "latin", "greek", "cyrillic", "kana", "hangul", "han", "arabic", "other"),
    *("number", "digit", "mark", "marks", "gap", "blank", "line"),
)
"""word: runs of ASCII letters that are at most seven long, and every seven letters more · letter: their letters beyond
the fourth · long: runs of more than twelve · upper: capital letters inside or after another · latin (with accents),
greek, cyrillic, kana, hangul, han, arabic: letters of these scripts · other: bytes of all others · number: runs of
digits · digit: digits · mark: runs of punctuation · marks: their marks beyond the first · gap: runs of two and more
blanks · blank: the blanks in them · line: line ends."""

_PIECE = re.compile(
    r"(?P<word>[A-Za-z]+)|(?P<number>[0-9]+)|(?P<gap>[ \t]{2,})|(?P<line>\n)|(?P<one>[ \t\r\f\v])"
    r"|(?P<mark>[!-/:-@\[-`{-~]+)|(?P<latin>[\u00aa-\u024f]+)|(?P<greek>[\u0370-\u03ff]+)|(?P<cyrillic>[\u0400-\u052f]+)"
    r"|(?P<kana>[\u3040-\u30ff]+)"
    r"|(?P<hangul>[\uac00-\ud7af]+)|(?P<han>[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]+)|(?P<arabic>[\u0590-\u06ff]+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_UPPER = re.compile(r"(?<=[A-Za-z])[A-Z]")


def features(text: str) -> list[float]:
    """One number per entry of ``FEATURES``."""
    row = dict.fromkeys(FEATURES, 0.0)
    for match in _PIECE.finditer(text):
        kind = match.lastgroup
        size = match.end() - match.start()
        if kind == "word":
            row["word"] += 1 + (size - 1) // 7
            row["letter"] += max(size - 4, 0)
            row["long"] += size > 12
        elif kind == "number":
            row["number"] += 1
            row["digit"] += size
        elif kind == "mark":
            row["mark"] += 1
            row["marks"] += size - 1
        elif kind == "gap":
            row["gap"] += 1
            row["blank"] += size
        elif kind == "other":
            row["other"] += len(match[0].encode(errors="replace"))
        elif kind is not None and kind != "one":
            row[kind] += size
    row["upper"] = float(len(_UPPER.findall(text)))
    return list(row.values())


def weigh(row: Iterable[float], weights: Iterable[float]) -> float:
    """Tokens by a table's weights."""
    return sum(value * weight for value, weight in zip(row, weights, strict=True))
