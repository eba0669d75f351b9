"""Values that are known already, wherever they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from chainops.middleware.pii.finding import Finding
from chainops.middleware.pii.fold import fold
from chainops.middleware.pii.pattern import Candidate, Scan

__all__ = ["Known"]

_WORD = re.compile(r"[^\W_]+")


class Known:
    """A form whose values are given: each is found as a whole word, in a text that was folded (:func:`fold`).

    Values may be added at any time. A view (:meth:`view`) has those that were there when it was made, so that an answer
    is searched alike from its first token to its last.
    """

    needs: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    kind = begins = opening = ""
    least = 0

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        """``values``: the kind of each."""
        # value, where a word stands in it, and as the how manieth it came: by its longest word, which is the rarest,
        # and for those that go on over a blank by their first
        self._longest: dict[str, list[tuple[str, int, int]]] = {}
        self._first: dict[str, list[tuple[str, int, int]]] = {}
        self._kinds: dict[str, str] = {}
        self._count = self._limit = 0
        for value, kind in (values or {}).items():
            self.add(value, kind)

    def add(self, value: str, kind: str) -> None:
        """Know a value; where it is known already, its first kind stays."""
        value = fold(value).text
        words = list(_WORD.finditer(value))
        if value in self._kinds or not words:
            return
        self._kinds[value] = kind
        longest = max(words, key=lambda word: len(word[0]))
        self._longest.setdefault(longest[0], []).append((value, longest.start(), self._count))
        if " " in value or "\n" in value:
            self._first.setdefault(words[0][0], []).append((value, words[0].start(), self._count))
        self._count += 1
        self._limit = self._count

    def view(self) -> Known | None:
        """What is known now; None where that is nothing."""
        if not self._count:
            return None
        view = Known()
        view._longest, view._first, view._kinds = self._longest, self._first, self._kinds
        view._count = view._limit = self._count
        return view

    def __len__(self) -> int:
        return self._limit

    def candidates(self, text: str, start: int) -> Iterator[Candidate]:
        """Every place where a value stands as a whole word, in order."""
        found = []
        for word in _WORD.finditer(text, start):
            for value, offset, number in self._longest.get(word[0], ()):
                first = word.start() - offset
                last = first + len(value)
                if number < self._limit and first >= start and _stands(value, text, first, last):
                    found.append(Candidate(first, last, first, last))
        return iter(sorted(found))

    def judge(self, scan: Scan, start: int, end: int) -> Finding:
        """What it is known as."""
        return Finding(start, end, self._kinds[scan.text[start:end]], 0.9)

    def find(self, text: str) -> list[Finding]:
        """Where known values stand in a text as it is."""
        folded = fold(text)
        scan = Scan(folded.text)
        found = [self.judge(scan, c.start, c.end) for c in self.candidates(folded.text, 0)]
        return [Finding(*folded.span(f.start, f.end), f.kind, f.score) for f in found]

    def open_at(self, text: str, start: int, cut: int) -> int:
        """Where in a stream a value may have begun that goes on; ``cut`` where none has."""
        for word in _WORD.finditer(text, start, cut):
            for value, offset, number in self._first.get(word[0], ()):
                first = word.start() - offset
                if number < self._limit and start <= first < cut and value.startswith(text[first : first + len(value)]):
                    return first
        return cut


def _stands(value: str, text: str, first: int, last: int) -> bool:
    if not text.startswith(value, first):
        return False
    return not (text[first - 1 : first].isalnum() and first) and not text[last : last + 1].isalnum()
