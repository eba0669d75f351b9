"""The scanner as a watch of the stream gate: what is found in pieces is what is found in the whole."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

from chainops.gate import Edit
from chainops.gate.gate import CONTEXT
from chainops.gate.patterns import opener
from chainops.middleware.pii.finding import Finding, resolve
from chainops.middleware.pii.fold import fold
from chainops.middleware.pii.known import Known
from chainops.middleware.pii.pattern import (
    AFTER,
    BEING,
    CAPITAL,
    DIGIT,
    FIRST_WORDS,
    LETTERED,
    UNSURE,
    WORD,
    Form,
    Scan,
)
from chainops.middleware.pii.scanner import PatternDetector, Scanner

__all__ = ["PiiWatch", "Replace"]

Replace = Callable[[str, str], str]
"""What stands for a value: of its kind, and of the value."""

# small letters and blanks: of these, only the words that begin something need a closer look
_NOT_PLAIN = re.compile(r"[^a-z \n]")
_FIRST = frozenset(word[:3] for word in FIRST_WORDS)
# between the digits of a value
_DIGITS = frozenset("0123456789+(")
_NUMERIC = "0123456789 \t\r\n()+,./-"
_DIGIT = re.compile(DIGIT)
SHORT, MORE = 24, 32
"""Characters of digits and signs that wait without a closer look; and that come before the next look at more."""
_TRIGGER = re.compile(rf"[\d@:=_-]|{CAPITAL}|{WORD}|{BEING}|eyJ|(?i:sg\.|ya29|aiza|(?:aki|asi|agp|aid|aro|abi|acc)a)")


class PiiWatch:
    """A :class:`~chainops.gate.Watch`: values leave as what ``replace`` gives for them.

    With detectors beside the built-in patterns, whose findings may depend on anything, everything waits for the end.

    Args:
        scanner: what looks.
        replace: what stands for a value.
        known: values that are known already.
        kept: None for values that ``replace`` would block for. Before the end such a value waits, and what follows it;
            it stands in :attr:`wanted`, for the caller to see to. One watch is for one answer then.
    """

    def __init__(
        self,
        scanner: Scanner,
        replace: Replace,
        known: Known | None = None,
        kept: Callable[[str], str | None] | None = None,
    ) -> None:
        self._scanner, self._replace, self._known, self._kept = scanner, replace, known, kept
        self._last: tuple[str, list[Finding]] | None = None
        # a text of which nothing leaves, from where, until it is how long, or a word comes behind which place (-1: none
        # matters): no state, each text says it of itself
        self._waits: tuple[str, int, int, int] = "", -1, 0, -1
        self.wanted: list[tuple[str, str]] = []
        """Kind and value of what waits."""
        only = scanner.detectors[0] if len(scanner.detectors) == 1 else None
        self._forms: tuple[Form, ...] = only.forms if isinstance(only, PatternDetector) else ()
        self._opens = _openers_of(only) if isinstance(only, PatternDetector) else None
        self._numbers = any(begins == DIGIT for begins, _, _ in self._opens or ())

    def settle(self, text: str, start: int, final: bool) -> tuple[int, Sequence[Edit]]:
        """See :class:`~chainops.gate.Watch`."""
        if self._opens is None:
            if not final:
                return start, ()
            return self._edits(text, len(text), [f for f in self._everything(text) if f.start >= start], True)
        if not final and text[-1:] == "\\":  # with what follows, it may be the end of a line
            text = text[:-1]
            if len(text) <= start:
                return start, ()
        if text.isascii() and "\\" not in text:
            cut, found = self._settle(text, start, final)
            return self._edits(text, cut, found, final) if found else (cut, ())
        base = max(0, start - CONTEXT)
        folded = fold(text[base:])
        first = start - base if folded.places is None else bisect_left(folded.places, start - base)
        cut, found = self._settle(folded.text, first, final)
        if folded.places is not None:
            cut = folded.places[cut]
        spans = []
        for f in found:
            low, high = folded.span(f.start, f.end)
            spans.append(Finding(base + low, base + high, f.kind, f.score))
        return self._edits(text, max(start, base + cut), spans, final)

    def scan(self, text: str) -> None:
        """Look at a whole text now; what is found is remembered until another one comes."""
        self._last = text, self._everything(text)

    def unkept(self, text: str) -> list[tuple[str, str]]:
        """Kind and value of what ``replace`` would block for in a whole text."""
        if self._kept is None or not text:
            return []
        found = [(f.kind, text[f.start : f.end]) for f in self._everything(text)]
        return [(kind, value) for kind, value in dict.fromkeys(found) if self._kept(value) is None]

    def _settle(self, text: str, start: int, final: bool) -> tuple[int, Sequence[Finding]]:
        """The same in a folded text; findings in place of edits."""
        ends = cut = len(text)
        plain, until = False, 0
        if not final:
            cut = max(text.rfind(" ", start), text.rfind("\n", start)) + 1  # the last word may go on
            if cut <= start:
                return start, ()
            begun, since, until, behind = self._waits
            waits = start == since and len(text) < until and text.startswith(begun)
            if waits and (behind < 0 or not text[behind:cut].strip(_NUMERIC)):
                return start, ()
            until = 0
            if (
                self._numbers
                and text[start] in _DIGITS
                and len(text) - start <= SHORT
                and not text[start:cut].strip(_NUMERIC)
            ):
                return start, ()  # as _number would say
            plain, ends = _is_plain(text, start), cut
            cut, until = self._ends(text, start, cut, plain)
            if cut <= start:
                if until:
                    self._waits = text, start, until, ends
                return start, ()
        # what begins before the cut may say what it is behind it
        triggered = not plain and _TRIGGER.search(text, start, ends) is not None
        if self._known is None and not triggered:
            return cut, ()
        cut, found, later = self._find(text, start, cut, final, self._forms if triggered else ())
        if until or later:
            self._waits = text, cut, max(until, later), ends if until > later else -1
        return cut, found

    def _edits(self, text: str, cut: int, found: Sequence[Finding], final: bool) -> tuple[int, list[Edit]]:
        edits: list[Edit] = []
        for f in found:
            value = text[f.start : f.end]
            if self._kept is not None and not final and self._kept(value) is None:
                self.wanted.append((f.kind, value))
                return f.start, edits
            edits.append(Edit(f.start, f.end, self._replace(f.kind, value)))
        return cut, edits

    def _ends(self, text: str, start: int, cut: int, plain: bool) -> tuple[int, int]:
        """Where something begins that may go on over blanks, ``cut`` where nothing does; and how long to wait."""
        ends, until = cut, 0
        for begins, quick, slow in () if plain else self._opens or ():
            if begins == DIGIT:
                place, until = self._number(text, start, ends, slow)
                cut = min(cut, place)
            elif quick.search(text, start) and (match := slow.search(text, start, partial=True)):
                cut = min(cut, match.start())
        return cut if self._known is None else self._known.open_at(text, start, cut), until

    def _number(self, text: str, start: int, cut: int, slow: Any) -> tuple[int, int]:
        """Where the numbers begin with which the text before its last word ends; and how long to wait."""
        first = _DIGIT.search(text, start + len(text[start:cut].rstrip(_NUMERIC)), cut)
        if first is None:
            return cut, 0
        place, until = first.start(), 0
        if len(text) - place > SHORT:  # too long to wait for its end unseen
            match = slow.search(text, place, partial=True)
            if match is None or match.start() >= cut:
                return cut, 0
            place, until = match.start(), len(text) + MORE
        # not in the middle of a word
        return max(start, text.rfind(" ", start, place) + 1, text.rfind("\n", start, place) + 1), until

    def _everything(self, text: str) -> list[Finding]:
        if self._last is not None and self._last[0] == text:
            return self._last[1]
        found = self._scanner.find(text)
        if self._known is not None:
            found = resolve([*found, *self._known.find(text)])
        return found

    def _find(
        self, text: str, start: int, cut: int, final: bool, forms: Sequence[Form]
    ) -> tuple[int, list[Finding], int]:
        scan = Scan(text, "", start, final)
        count = scan.count()
        found: list[Finding] = []
        spans: list[tuple[int, int]] = []
        until = 0
        for form in forms if self._known is None else (*forms, self._known):
            if count < form.least or (form.needs and not scan.holds(form.needs)):
                continue
            for candidate in form.candidates(text, start):
                if candidate.first >= cut:
                    break
                spans.append((candidate.first, candidate.last))
                judged = form.judge(scan, candidate.start, candidate.end) if candidate.last <= cut else UNSURE
                if judged is UNSURE:
                    if candidate.last <= cut:  # words behind it decide
                        until = candidate.end + AFTER
                    cut = candidate.first
                    break
                if judged is not None and judged.score >= self._scanner.threshold:
                    found.append(judged)
        # what was read, found or not, is not cut in two: the next look would read its second half
        for first, last in sorted(spans, reverse=True):
            if first < cut < last:
                cut = first
        return cut, resolve(f for f in found if f.end <= cut), until


def _is_plain(text: str, start: int) -> bool:
    if _NOT_PLAIN.search(text, start):
        return False
    return all(word[:3] not in _FIRST for word in text[start:].split())


_OPENERS: dict[tuple[str, ...], list[tuple[str, re.Pattern[str], Any]]] = {}


def _openers_of(detector: PatternDetector) -> list[tuple[str, re.Pattern[str], Any]]:
    """A quick look and a thorough one for each way in which candidates begin."""
    if detector.kinds not in _OPENERS:
        openings: dict[str, list[str]] = {}
        for form in detector.forms:
            if form.opening:
                openings.setdefault(form.begins, []).append(form.opening)
                if form.begins == LETTERED:
                    openings.setdefault(DIGIT, []).append(form.opening)
        _OPENERS[detector.kinds] = [
            (begins, re.compile(begins), opener(_joined(begins, parts))) for begins, parts in openings.items()
        ]
    return _OPENERS[detector.kinds]


def _joined(begins: str, parts: Sequence[str]) -> str:
    together = "|".join(f"(?:{part})" for part in parts)
    # nothing of this group begins elsewhere: one look instead of one for each
    return rf"(?=[\d+(]|[A-Za-z]{{1,2}}\d)(?:{together})" if begins in (DIGIT, LETTERED) else together
