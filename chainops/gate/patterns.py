"""A watch made of regular expressions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import regex

from chainops.errors import SetupError
from chainops.gate.gate import Edit

__all__ = ["Patterns", "Rule", "literals", "opener"]


SHORT = 12
"""Characters in which no pattern backtracks for long: watching the clock costs as much as searching them."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What must not leave as it is.

    Args:
        name: said in errors.
        pattern: a regular expression of the ``regex`` package (what ``re`` reads, it reads too). Bound its quantifiers:
            what could still become a match is held back, and ``.*`` always could.
        replace: what stands for a match: a text, or a function of it. A function that raises stops the stream.
    """

    name: str
    pattern: str
    replace: str | Callable[[str], str] = "[removed]"


class Patterns:
    """A :class:`Watch` of rules. Where matches overlap, the first stays whole, and of the next its rest counts.

    A pattern may look back at most 256 characters.

    Args:
        timeout_s: seconds that one search may take; after that ``TimeoutError`` stops the stream. None: for ever.

    Raises:
        SetupError: a pattern is no regular expression, matches nothing at all, or cannot be watched in a stream
            (``setup.pattern``).
    """

    def __init__(self, rules: Iterable[Rule], *, timeout_s: float | None = None) -> None:
        self.rules = tuple(rules)
        self.timeout_s = timeout_s
        compiled = [_compile(rule) for rule in self.rules]
        # by the sign that is in every match, where there is one: what no text has is not looked for
        signs: dict[str, list[tuple[int, Rule]]] = {}
        for order, rule in enumerate(self.rules):
            signs.setdefault(_sign(rule.pattern), []).append((order, rule))
        self._groups = [
            (sign, regex.compile(joined).search, [(order, compiled[order], rule.replace) for order, rule in group])
            for sign, rules in signs.items()
            for joined, group in _joined(rules)
        ]
        self._open = [opener(joined).search for rules in signs.values() for joined, _ in _joined(rules)]

    def settle(self, text: str, start: int, final: bool) -> tuple[int, Sequence[Edit]]:
        """See :class:`Watch`."""
        cut = len(text)
        timeout = self.timeout_s if cut - start > SHORT else None
        if not final:
            for search in self._open:
                if (match := search(text, start, partial=True, timeout=timeout)) is not None:
                    first = match.start()
                    if first == start:
                        return start, ()
                    if first < cut:
                        cut = first
        found: list[_Match] = []
        for sign, search, rules in self._groups:
            if (not sign or text.find(sign, start) >= 0) and search(text, start, timeout=timeout) is not None:
                found += self._find(text, start, rules)
        if not found:
            return cut, ()
        for match in sorted(found, reverse=True):
            if match.start < cut < match.end:
                cut = match.start
        return cut, _apart([m for m in found if m.end <= cut])

    def _find(self, text: str, start: int, rules: Iterable[_Compiled]) -> Iterator[_Match]:
        for order, pattern, replace in rules:
            for match in pattern.finditer(text, start, timeout=self.timeout_s):
                first, last = match.span()
                if last > first:
                    yield _Match(first, last, order, match[0], replace)


_Compiled = tuple[int, Any, str | Callable[[str], str]]


class _Match(NamedTuple):
    start: int
    end: int
    order: int
    value: str
    replace: str | Callable[[str], str]


def _apart(found: list[_Match]) -> list[Edit]:
    edits: list[Edit] = []
    done = 0
    if len(found) > 1:
        found.sort(key=lambda m: (m.start, -m.end, m.order))
    for match in found:
        if match.end > done:
            replace = match.replace if isinstance(match.replace, str) else match.replace(match.value)
            edits.append(Edit(max(done, match.start), match.end, replace))
            done = match.end
    return edits


def literals(words: Iterable[str], *, whole: bool = True, ignore_case: bool = True) -> str:
    """A pattern for any of these words or phrases, quick for thousands of them.

    Args:
        whole: only where no letter or digit stands right before or after.
        ignore_case: in either case.
    """
    tree: dict[str, Any] = {}
    for word in words:
        if not word:
            continue
        at = tree
        for char in word.casefold() if ignore_case and len(word.casefold()) == len(word) else word:
            at = at.setdefault(char, {})
        at[""] = {}
    if not tree:
        raise SetupError("A list of words is empty", hint="Name at least one word.", code="setup.pattern")
    body = _branches(tree)
    body = f"(?<![^\\W_]){body}(?![^\\W_])" if whole else body
    return f"(?i:{body})" if ignore_case else body


def _branches(tree: dict[str, Any]) -> str:
    parts = []
    for first, below in sorted(tree.items(), reverse=True):  # longer ones first: a word after the words it begins
        tail = first
        while len(below) == 1 and "" not in below:
            ((char, below),) = below.items()
            tail += char
        parts.append(regex.escape(tail) + (_branches(below) if set(below) - {""} else "") if first else "")
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


def opener(pattern: str) -> regex.Pattern[str]:
    r"""Finds, with ``search(text, start, partial=True)``, the first place where a match could begin that needs more
    text, or could become another match with more text; the end of the text where there is none.

    A match that is complete is not found: the ``.`` behind the end of the text is never there, so that only the search
    for partial matches succeeds. At the end of the text, ``\b`` is unknown, not decided: hence its longer form.
    """
    try:
        return regex.compile(rf"(?:{_unsure_ends(pattern)})\Z(?s:.)")
    except regex.error as error:
        raise _bad(pattern, str(error)) from None


_UNSURE = {
    "b": r"(?:(?<=\w)(?!\w)|(?<!\w)(?=\w))",
    "B": r"(?:(?<=\w)(?=\w)|(?<!\w)(?!\w))",
    "m": r"(?:(?<!\w)(?=\w))",
    "M": r"(?:(?<=\w)(?!\w))",
}


def _unsure_ends(pattern: str) -> str:
    out, inside, at = [], False, 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\" and at + 1 < len(pattern):
            pair = pattern[at : at + 2]
            out.append(pair if inside else _UNSURE.get(pair[1], pair))
            at += 2
            continue
        if char == "[" and not inside:
            inside = True
            # a bracket that stands first is one of the characters
            head = 2 if pattern[at + 1 : at + 2] == "^" else 1
            head += pattern[at + head : at + head + 1] == "]"
            out.append(pattern[at : at + head])
            at += head
            continue
        if char == "]" and inside:
            inside = False
        out.append(char)
        at += 1
    return "".join(out)


def _sign(pattern: str) -> str:
    """A sign that stands in every match, as the ``@`` of an address; empty where none is known."""
    if _NAMED.search(pattern):
        return ""
    found, depth = "", 0
    for part in _PARTS.finditer(pattern):
        if part[0] in "()":
            depth += 1 if part[0] == "(" else -1
        elif depth == 0:
            if part[0] == "|":
                return ""
            literal = part[0][-1]
            if literal in _SIGNS and len(part[0]) <= 2 and pattern[part.end() : part.end() + 1] not in ("?", "*", "{"):
                found = found or literal
    return found


# with signs that stand for no sign in the text
_NAMED = re.compile(r"\[[:.=]|\\[pPN]|\(\?#")
# an escaped character, a set, how often, any other character
_PARTS = re.compile(r"(?s)\\.|\[\^?\]?(?:\\.|[^\\\]])*\]|\{\d*,?\d*\}|.")
# few, because each kind is searched by itself
_SIGNS = frozenset("@:=/")
_LEADING = re.compile(r"^\(\?([aimsu]+)\)")
_REFUSED = re.compile(r"\\[GKX]|\{[^{}]*<|\(\?[a-zA-Z]*[rVebpx]+[a-zA-Z-]*[:)]|\(\*|\\L<|\(\?R\)|\(\?\d|\(\?&")
_COUNTED = re.compile(r"\\[1-9]|\\g<\d|\(\?\(")


def _compile(rule: Rule) -> regex.Pattern[str]:
    if bad := _REFUSED.search(rule.pattern):
        raise _bad(rule.pattern, f"{bad[0]} cannot be watched in a stream", rule.name)
    try:
        compiled = regex.compile(_scoped(rule.pattern))
    except regex.error as error:
        raise _bad(rule.pattern, str(error), rule.name) from None
    if compiled.fullmatch(""):
        raise _bad(rule.pattern, "it matches the empty text", rule.name)
    return compiled


def _bad(pattern: str, why: str, name: str = "") -> SetupError:
    where = f" of the rule {name!r}" if name else ""
    return SetupError(
        f"The pattern {pattern!r}{where} is no pattern for a stream: {why}", hint="Mend it.", code="setup.pattern"
    )


def _scoped(pattern: str) -> str:
    """``(?i)abc`` as ``(?i:abc)``, so that it stands beside others."""
    flags = _LEADING.match(pattern)
    return f"(?{flags[1]}:{pattern[flags.end() :]})" if flags else f"(?:{pattern})"


def _joined(rules: Sequence[tuple[int, Rule]]) -> list[tuple[str, list[tuple[int, Rule]]]]:
    """As few patterns as can be, each with its rules: one for all those that do not count their groups."""
    together = [pair for pair in rules if not _COUNTED.search(pair[1].pattern)]
    alone = [(_scoped(pair[1].pattern), [pair]) for pair in rules if pair not in together]
    return [("|".join(_scoped(rule.pattern) for _, rule in together), together), *alone] if together else alone
