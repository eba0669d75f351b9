"""What a text may mean beside what it says: the same text without disguises, and what is encoded in it."""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote

from chainops.middleware.rails.jailbreak.lookalikes import LEET, LOOKALIKES

__all__ = ["plain", "views"]

DEPTH = 2  # what is encoded within something encoded
MOST = 12  # views of one text
SHORT = 8  # decoded texts below so many letters say nothing
COMMON = frozenset(
    [
        "the",
        "a",
        "an",
        "and",
        "or",
        "of",
        "to",
        "in",
        "is",
        "are",
        "was",
        "you",
        "your",
        "i",
        "me",
        "my",
        "we",
        "it",
        "this",
        "that",
        "for",
        "with",
        "on",
        "as",
        "be",
        "have",
        "do",
        "not",
        "all",
        "no",
        "from",
        "what",
        "how",
        "can",
        "will",
        "now",
        "tell",
        "ignore",
        "previous",
        "instructions",
        "prompt",
        "system",
        "say",
        "write",
        "give",
        "please",
    ]
)
KNOWN = COMMON | frozenset(
    [
        "above",
        "act",
        "any",
        "answer",
        "answers",
        "anything",
        "are",
        "bypass",
        "can",
        "cannot",
        "character",
        "confirm",
        "content",
        "developer",
        "disregard",
        "do",
        "display",
        "everything",
        "filter",
        "filters",
        "follow",
        "forget",
        "from",
        "guidelines",
        "help",
        "hidden",
        "instead",
        "instruction",
        "internal",
        "jailbreak",
        "know",
        "limits",
        "make",
        "mode",
        "must",
        "never",
        "new",
        "no",
        "obey",
        "only",
        "output",
        "override",
        "password",
        "policy",
        "pretend",
        "print",
        "prior",
        "prompts",
        "question",
        "refuse",
        "repeat",
        "response",
        "restrictions",
        "reveal",
        "rules",
        "safety",
        "say",
        "secret",
        "show",
        "start",
        "stay",
        "tell",
        "told",
        "unfiltered",
        "unrestricted",
        "user",
        "want",
        "warning",
        "without",
        "words",
    ]
)
_TAGS = re.compile("[\U000e0020-\U000e007e]+")
_SPACED = re.compile(r"(?<!\w)(?:[^\W_][ .\-_*|/]){3,}[^\W_](?![^\W_])")
_SPACED_SHORT = re.compile(r"(?<!\w)(?:[^\W_][ .\-_*|/]){1,}[^\W_](?![^\W_])")
_WORD = re.compile(r"\S+")
_BASE64 = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{16,}={0,2}(?![\w+/=-])")
_HEX = re.compile(r"(?<![0-9a-zA-Z])(?:(?:\\x|0x)?[0-9a-fA-F]{2}[\s:,]?){8,}(?![0-9a-zA-Z])")
_BITS = re.compile(r"(?:[01]{8}\s*){4,}")
_ESCAPE = re.compile(r"\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}")
_ODD = re.compile(r"[a-zA-Z][0134578@$|+]|[0134578@$|+][a-zA-Z]|[a-zA-Z]![a-zA-Z]")
_UNIT = re.compile(r"[$€£]?[\d.,]+[a-zA-Z]{1,3}[.,;:?!]?|[A-Z]+\d+[.,;:?!]?")
_TOKEN = re.compile(r"[a-z']+")


def views(text: str) -> list[tuple[str, str]]:
    """Readings of ``text`` as (name, reading), the plain one first; each once, at most a dozen."""
    found: dict[str, str] = {}
    _read(text, "plain", 0, found)
    return [(name, reading) for reading, name in found.items()]


def _read(text: str, name: str, depth: int, found: dict[str, str]) -> None:
    base = plain(text)
    if not base.strip() or len(found) >= MOST:
        return
    found.setdefault(base, name)
    prefix = "" if name == "plain" else f"{name}+"
    for how, reading in _same_letters(text, base):
        if reading != base and len(found) < MOST:
            found.setdefault(reading, prefix + how)
    if depth < DEPTH:
        for how, reading in _hidden(text, base):
            _read(reading, prefix + how, depth + 1, found)


def plain(text: str) -> str:
    """``text`` in compatibility forms (NFKC), without what cannot be seen and without marks piled on letters."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text)
    seen = []
    for sign in unicodedata.normalize("NFD", text):
        kind = unicodedata.category(sign)
        if kind == "Mn" or (kind == "Cf" and sign != "\n"):
            continue
        seen.append(sign)
    return _latin(unicodedata.normalize("NFC", "".join(seen)))


def _latin(text: str) -> str:
    """Words that mix scripts, or lie in Latin text and consist of lookalikes only, in Latin letters."""
    latin = sum("a" <= c <= "z" for c in text.lower())
    mostly = latin * 2 > sum(c.isalpha() for c in text)

    def word(match: re.Match[str]) -> str:
        part = match[0]
        if part.isascii():
            return part
        mapped = part.translate(LOOKALIKES)
        mixed = any("a" <= c <= "z" for c in part.lower())
        return mapped if mixed or (mostly and mapped.isascii()) or _flags(part) else part

    return _WORD.sub(word, text)


def _flags(part: str) -> bool:
    return any(0x1F130 <= ord(c) <= 0x1F1FF for c in part)


def _same_letters(text: str, base: str) -> Iterator[tuple[str, str]]:
    """Readings with the letters of the text itself."""
    if _SPACED.search(base):
        yield "spaced", _SPACED_SHORT.sub(_joined, re.sub(r"[ \t]{2,}", " \n ", base))
    words = _WORD.findall(base)
    odd = [w for w in words if _ODD.search(w) and not _UNIT.fullmatch(w)]
    if len(odd) >= 2 and len(odd) * 6 >= len(words):
        yield "leet", _WORD.sub(lambda m: m[0].translate(LEET) if any(c.isalpha() for c in m[0]) else m[0], base)
    for how, reading in (("rot13", codecs.encode(base, "rot13")), ("reversed", base[::-1])):
        if _english(reading) > max(0.15, _english(base) + 0.15):
            yield how, reading


def _joined(match: re.Match[str]) -> str:
    """The letters of a run as words: split where the words are known, since nothing else says where they end."""
    letters = re.sub(r"[ .\-_*|/]", "", match[0])
    if len(letters) <= 14:
        return letters
    low, cost, back = letters.lower(), [0], [0]
    for end in range(1, len(letters) + 1):
        options = [(cost[end - 1] + 3, end - 1)]
        options += [(cost[b] + 1, b) for b in range(max(0, end - 14), end) if low[b:end] in KNOWN]
        best = min(options)
        cost.append(best[0])
        back.append(best[1])
    parts, at = [], len(letters)
    while at:
        part = letters[back[at] : at]
        parts.append(f" {part} " if part.lower() in KNOWN else part)
        at = back[at]
    return re.sub(r" +", " ", "".join(reversed(parts)))


def _hidden(text: str, base: str) -> Iterator[tuple[str, str]]:
    """What is encoded in the text."""
    if tags := "".join(_TAGS.findall(text)):
        yield "tags", "".join(chr(ord(c) - 0xE0000) for c in tags)
    for part in _BASE64.findall(base):
        if reading := _decoded(_from_base64(part)):
            yield "base64", reading
    for pattern, read, how in ((_HEX, _from_hex, "hex"), (_BITS, _from_bits, "bits")):
        for part in pattern.findall(base):
            if reading := _decoded(read(part)):
                yield how, reading
    if "%" in base and (reading := unquote(base, errors="ignore")) != base:
        yield "url", reading
    if "&" in base and ";" in base and (reading := html.unescape(base)) != base:
        yield "html", reading
    if _ESCAPE.search(base):
        yield "escapes", _ESCAPE.sub(lambda m: chr(int(m[0][2:], 16)), base)


def _from_base64(part: str) -> bytes:
    part = part.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error:
        return b""


def _from_hex(part: str) -> bytes:
    digits = re.sub(r"\\x|0x|[\s:,]", "", part)
    return bytes.fromhex(digits) if len(digits) % 2 == 0 else b""


def _from_bits(part: str) -> bytes:
    bits = re.sub(r"\s", "", part)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits) - 7, 8))


def _decoded(data: bytes) -> str:
    """``data`` as text, or "" where it is none."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    letters = sum(c.isalpha() or c.isspace() for c in text)
    readable = all(c.isprintable() or c.isspace() for c in text)
    return text if readable and letters >= SHORT and letters * 10 >= len(text) * 7 else ""


def _english(text: str) -> float:
    """Share of words that are frequent in English."""
    words = _TOKEN.findall(text.lower())
    return sum(w in COMMON for w in words) / len(words) if len(words) >= 3 else 0.0
