"""A text as units that are kept or left out whole: sentences of prose, lines of anything else, blocks of code."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Unit", "units_of"]

_BLOCKS = re.compile(r"(?:```.*?(?:```|\Z)|(?:(?!\n[ \t]*\n)(?!```).)+)", re.DOTALL)
_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?:\s*\[\d+(?:[,-]\s*\d+)*\])*(?:\s+|(?=[A-ZÀ-Ý\"“]))|[。！？]+")
_LINE_END = re.compile(r"[.!?…:。！？][\"'”’)\]]*\s*$")
_SHORT = re.compile(
    r"(?:^|[\s(])(?:[A-Z]|(?:[A-Za-z]\.)+[A-Za-z]?|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|No|Lt|Mt|Inc|Ltd|Co|Corp|Gen|Col|Rev|"
    r"Fig|Vol|etc|e\.g|i\.e|approx|ca|cf|al|bzw|z\.B|Nr|Abs)$"
)
_HEAD = re.compile(
    r"\s*(?:#{1,6}\s.*|\[[^\]\n]{1,40}\]:?[^.!?\n]{0,60}|"
    r"(?:title|source|url|document|doc|date|id|quelle)\b[^\n]{0,120}|\*\*[^*\n]{1,80}\*\*:?)\s*$",
    re.IGNORECASE,
)
_TAG = re.compile(r"\s*<\w[^>]*>\s*$")
_SAYS = re.compile(r"\s*(\w[\w .'’-]{0,24}):\s")
_SPEAKER = re.compile(r"\s*(user|human|customer|bot|assistant|ai|agent|system)\s*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of a text.

    Args:
        start, end: where it stands; units follow each other without gaps but for white space.
        paragraph: number of the paragraph.
        head: it names its paragraph (a heading, a citation mark, a source): kept when something below it is.
        whole: it is code or a row, and cannot be clipped.
        speaker: who says it in a transcript, in small letters, or "".
    """

    text: str
    start: int
    end: int
    paragraph: int
    head: bool = False
    whole: bool = False
    speaker: str = ""


def units_of(text: str) -> list[Unit]:
    """The units of ``text``, in order."""
    found: list[Unit] = []
    speaker = ""
    number = -1
    for match in _BLOCKS.finditer(text):
        begin, part = match.start(), match[0]
        if not part.strip():
            continue
        number += 1
        if part.startswith("```"):
            found.append(Unit(part, begin, begin + len(part), number, whole=True))
            continue
        for start, end, is_line, opens in _pieces(part):
            piece = part[start:end]
            number += opens
            if not piece.strip():
                continue
            if said := _SPEAKER.match(piece):
                speaker = said[1].lower()
            head = is_line and _HEAD.match(piece) is not None
            found.append(Unit(piece, begin + start, begin + end, number, head, _is_row(piece), speaker))
    return found


def _pieces(part: str) -> list[tuple[int, int, bool, bool]]:
    """Sentences of long lines, and short lines as they are: ``(start, end, is a whole line, begins a paragraph)``.

    A line of several sentences is a paragraph of its own, a title or an opening tag begins one; not so in a dialogue.
    """
    found = []
    lines = part.splitlines(keepends=True)
    inner = lines[:-1]
    wrapped = len(inner) > 0 and sum(map(len, inner)) > 60 * len(inner) and not any(map(_is_row, lines))
    if wrapped and 2 * sum(_LINE_END.search(line) is not None for line in inner) < len(inner):
        # prose that was broken into lines: most of them end inside of a sentence
        return [(start, end, False, False) for start, end in _sentences(part)]
    dialogue, offset, last = _is_dialogue(lines), 0, "head"
    for line in lines:
        if _is_row(line) or _HEAD.match(line):
            kind = "head" if _HEAD.match(line) or _TAG.match(line) else "row"
            found.append((offset, offset + len(line), True, kind == "head" != last))
        else:
            sentences = _sentences(line)
            kind = "line" if len(sentences) < 2 or dialogue else "paragraph"
            opens = last != "head" and "paragraph" in (kind, last)
            found += [(offset + start, offset + end, False, opens and not start) for start, end in sentences]
        offset, last = offset + len(line), kind
    return found


def _is_dialogue(lines: list[str]) -> bool:
    """Most lines begin with one of a few names and a colon."""
    said = [match[1].lower() for line in lines if (match := _SAYS.match(line))]
    return len(said) > 0.6 * len(lines) and len(set(said)) <= max(len(said) // 2, 1)


def _sentences(text: str) -> list[tuple[int, int]]:
    found, start = [], 0
    for match in _END.finditer(text):
        end = match.end()
        if end == len(text):
            break
        if text[match.start()] == ".":
            following = text[end]
            if following.islower() or _SHORT.search(text, start, match.start()) or following in ",;:":
                continue
        found.append((start, end))
        start = end
    if start < len(text):
        found.append((start, len(text)))
    return found


def _is_row(line: str) -> bool:
    """A row of a table, or a line of data."""
    bare = line.strip()
    return (bare.startswith("|") and bare.count("|") > 2) or bare.count("\t") > 1 or bare[:1] in ("{", "}", "<")
