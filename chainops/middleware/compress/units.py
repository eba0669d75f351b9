"""A text as units that are kept or left out whole: sentences of prose, lines of anything else, blocks of code."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Unit", "units_of"]

WINDOW = 6
"""Units of a long paragraph that are ranked together."""
_BLOCKS = re.compile(r"(?:```.*?(?:```|\Z)|(?:(?!\n[ \t]*\n)(?!```).)+)", re.DOTALL)
_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?:\s*\[\d+(?:[,-]\s*\d+)*\])*(?:\s+|(?=[A-ZÀ-Ý\"“]))|[。！？]+")
_SHORT = re.compile(
    r"(?:^|[\s(])(?:[A-Z]|(?:[A-Za-z]\.)+[A-Za-z]?|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|No|Lt|Mt|Inc|Ltd|Co|Corp|Gen|Col|Rev|"
    r"Fig|Vol|etc|e\.g|i\.e|approx|ca|cf|al|bzw|z\.B|Nr|Abs)$"
)
_HEAD = re.compile(
    r"\s*(?:#{1,6}\s.*|\[[^\]\n]{1,40}\]:?[^.!?\n]{0,60}|"
    r"(?:title|source|url|document|doc|date|id|quelle)\b[^\n]{0,120}|\*\*[^*\n]{1,80}\*\*:?)\s*$",
    re.IGNORECASE,
)
_SPEAKER = re.compile(r"\s*(user|human|customer|bot|assistant|ai|agent|system)\s*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of a text.

    Args:
        start, end: where it stands; units follow each other without gaps but for white space.
        block: number of the paragraph, or part of a long one, that it belongs to.
        paragraph: number of the paragraph.
        head: it names its paragraph (a heading, a citation mark, a source): kept when something below it is.
        whole: it is code or a row, and cannot be clipped.
        speaker: who says it in a transcript, in small letters, or "".
    """

    text: str
    start: int
    end: int
    block: int
    paragraph: int
    head: bool = False
    whole: bool = False
    speaker: str = ""


def units_of(text: str) -> list[Unit]:
    """The units of ``text``, in order."""
    found: list[Unit] = []
    block, speaker = 0, ""
    for number, match in enumerate(_BLOCKS.finditer(text)):
        begin, part = match.start(), match[0]
        if not part.strip():
            continue
        if part.startswith("```"):
            found.append(Unit(part, begin, begin + len(part), block, number, whole=True))
            block += 1
            continue
        size = 0
        for start, end, is_line in _pieces(part):
            piece = part[start:end]
            if not piece.strip():
                continue
            if said := _SPEAKER.match(piece):
                speaker = said[1].lower()
            head = is_line and _HEAD.match(piece) is not None
            if size == WINDOW:
                block, size = block + 1, 0
            found.append(Unit(piece, begin + start, begin + end, block, number, head, _is_row(piece), speaker))
            size += not head
        block += 1
    return found


def _pieces(part: str) -> list[tuple[int, int, bool]]:
    """Sentences of long lines, and short lines as they are: ``(start, end, is a whole line)``."""
    found = []
    lines = part.splitlines(keepends=True)
    wrapped = len(lines) > 1 and sum(map(len, lines[:-1])) > 60 * (len(lines) - 1) and not any(map(_is_row, lines))
    if wrapped:  # prose that was broken into lines
        return [(start, end, False) for start, end in _sentences(part)]
    offset = 0
    for line in lines:
        if _is_row(line) or _HEAD.match(line):
            found.append((offset, offset + len(line), True))
        else:
            found += [(offset + start, offset + end, False) for start, end in _sentences(line)]
        offset += len(line)
    return found


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
