"""The form of a text: JSON without white space, long tables and arrays by their ends, logs by their patterns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

__all__ = ["lossless", "minify", "restructure"]

HEAD, TAIL, LEAST_ROWS = 5, 3, 20
_STRING = r'"(?:\\.|[^"\\])*"'
_SPACE = re.compile(rf"({_STRING})|\s+")
_NULL = re.compile(rf"({_STRING}):null(,?)|({_STRING})")
_COMMA = re.compile(rf"({_STRING})|,(?=[}}\]])")
_FENCE = re.compile(r"(```(\w*)[^\n]*\n)(.*?)(\n```|\Z)", re.DOTALL)
_VARIES = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b|\d+", re.IGNORECASE)
_ALERT = re.compile(r"\b(?:error|fatal|critical|exception|traceback|panic|fail(?:ed|ure)?)\b", re.IGNORECASE)
_COMMENT = {"#": re.compile(r"[ \t]*#(?!!)"), "//": re.compile(r"[ \t]*//")}
_HASH = frozenset(("python", "py", "sh", "bash", "yaml", "toml", "ruby", "r"))


def minify(text: str) -> str:
    """JSON without white space between its parts; numbers and strings stay as they are written."""
    return _SPACE.sub(lambda m: m[1] or "", text)


def lossless(text: str) -> str:
    """The same content in fewer characters: JSON minified, blanks at line ends and surplus empty lines gone."""
    bare = text.strip()
    if _is_json(bare):
        return minify(bare)
    text = _FENCE.sub(lambda m: m[1] + minify(m[3]) + m[4] if _is_json(m[3]) else m[0], text)
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+(?=\n|\Z)", "", text))


def restructure(text: str, *, relevant: Callable[[str], bool] = lambda row: False, comments: bool = False) -> str:
    """As :func:`lossless`, and: no nulls in JSON, long arrays and tables by their first and last rows and those that
    are relevant, logs with lines of one pattern folded. What was left out is said in its place.

    Args:
        relevant: rows and lines that stay.
        comments: also leave out whole-line comments of code in fences.
    """
    bare = text.strip()
    if _is_json(bare):
        return _rows_of_json(_without_nulls(minify(bare)), relevant)
    text = lossless(text)
    if comments:
        text = _FENCE.sub(_without_comments, text)
    parts = re.split(r"(```.*?(?:```|\Z))", text, flags=re.DOTALL)
    return "".join(part if i % 2 else _fold_lines(part, relevant) for i, part in enumerate(parts))


def _is_json(text: str) -> bool:
    if text[:1] not in ("{", "[") or len(text) < 8:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _without_nulls(text: str) -> str:
    text = _NULL.sub(lambda m: m[3] or "", text)
    return _COMMA.sub(lambda m: m[1] or "", text)


def _rows_of_json(text: str, relevant: Callable[[str], bool]) -> str:
    """The longest array by its ends; the text that stands for the rest is a string in it, so that it stays JSON."""
    spans = _elements(text)
    if len(spans) < LEAST_ROWS:
        return text
    rows = [text[a:b] for a, b in spans]
    kept = _kept(rows, relevant)
    if len(kept) == len(rows):
        return text
    out: list[str] = []
    gap = 0
    for i, row in enumerate(rows):
        if i in kept:
            if gap:
                out.append(f'"... {gap} more ..."')
            out.append(row)
            gap = 0
        else:
            gap += 1
    return text[: spans[0][0]] + ",".join(out) + text[spans[-1][1] :]


def _elements(text: str) -> list[tuple[int, int]]:
    """Where the elements of the array with the most of them stand, of all arrays in minified JSON."""
    best: list[tuple[int, int]] = []
    open_: list[tuple[str, int, list[tuple[int, int]]]] = []
    for match in re.finditer(rf"{_STRING}|[\[\]{{}},]", text):
        sign, at = match[0], match.start()
        if sign in ("[", "{"):
            open_.append((sign, at + 1, []))
        elif sign in (",", "]", "}") and open_:
            kind, start, spans = open_[-1]
            if kind == "[" and at > start:
                spans.append((start, at))
            if sign == ",":
                open_[-1] = (kind, at + 1, spans)
            else:
                open_.pop()
                if kind == "[" and len(spans) > len(best):
                    best = spans
    return best


def _kept(rows: list[str], relevant: Callable[[str], bool]) -> set[int]:
    ends = set(range(HEAD)) | set(range(len(rows) - TAIL, len(rows)))
    return ends | {i for i, row in enumerate(rows) if relevant(row)}


def _fold_lines(text: str, relevant: Callable[[str], bool]) -> str:
    lines = text.split("\n")
    if len(lines) < LEAST_ROWS:
        return text
    if sum(line.count("|") > 1 or line.count("\t") > 1 or line.count(",") > 2 for line in lines) > 0.8 * len(lines):
        kept = _kept(lines, relevant) | {1}
        return _with_gaps(lines, kept, "rows")
    patterns = [_VARIES.sub("0", line) if len(line) > 10 else line for line in lines]
    times: dict[str, int] = {}
    for pattern in patterns:
        times[pattern] = times.get(pattern, 0) + 1
    if sum(n for n in times.values() if n >= 5) < 0.5 * len(lines):
        return text
    last = {pattern: i for i, pattern in enumerate(patterns)}
    first = {pattern: len(patterns) - 1 - i for i, pattern in enumerate(reversed(patterns))}
    kept = {
        i
        for i, pattern in enumerate(patterns)
        if times[pattern] < 5 or i in (first[pattern], last[pattern]) or relevant(lines[i])
        or (_ALERT.search(lines[i]) and times[pattern] < 20)
    }  # fmt: skip
    return _with_gaps(lines, kept, "similar lines")


def _with_gaps(lines: list[str], kept: set[int], what: str) -> str:
    out: list[str] = []
    gap = 0
    for i, line in enumerate([*lines, ""]):
        if i < len(lines) and i not in kept:
            gap += 1
            continue
        if gap:
            out.append(f"[... {gap} {what} ...]")
            gap = 0
        if i < len(lines):
            out.append(line)
    return "\n".join(out)


def _without_comments(match: re.Match[str]) -> str:
    pattern = _COMMENT["#" if match[2].lower() in _HASH else "//"]
    return match[1] + "\n".join(line for line in match[3].split("\n") if not pattern.match(line)) + match[4]
