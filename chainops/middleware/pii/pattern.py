"""One typed pattern: what a value looks like, what makes it valid, and which words near it speak for it."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import regex

from chainops.middleware.pii.finding import Finding

__all__ = [
    "AFTER",
    "BEFORE",
    "BEING",
    "CAPITAL",
    "DIGIT",
    "FIRST_WORDS",
    "LETTERED",
    "UNSURE",
    "WORD",
    "Candidate",
    "Form",
    "Pattern",
    "Scan",
    "words",
]

BEFORE, AFTER = 64, 24
FEW = 8
UNSURE = Finding(-1, -1, "", 0.0)
"""What a form says of a candidate in a stream that is judged by text that has not come yet."""


def words(*alternatives: str) -> re.Pattern[str]:
    """A pattern for any of these words or phrases (regular expressions) as whole words, in either case.

    A match is the first character; the group ``word`` is the whole. So phrases that overlap are all found, wherever the
    search begins, and the search skips quickly to characters with which one begins.
    """
    body = "|".join(alternatives)
    begins = regex.compile(f"(?i:{body})")
    letters = {c for c in body for c in (c.lower(), c.upper()) if len(c) == 1}
    first = "".join(sorted(c for c in letters if begins.match(c, partial=True)))
    return re.compile(rf"[{re.escape(first)}](?<![^\W_].)(?<=(?=(?P<word>(?i:{body})(?![^\W_]))).)")


class Candidate(NamedTuple):
    """``text[first:last]`` is what the form has read, ``text[start:end]`` the value in it."""

    first: int
    last: int
    start: int
    end: int


class Scan:
    """One text that is searched: its lower form, whether it has digits, and where words of a kind stand.

    Args:
        text: all of it, or the last part of a stream.
        field: the name of the field that holds it.
        start: from where on values are searched; what stands before is context.
        final: nothing follows.
    """

    __slots__ = ("_asked", "_places", "digits", "field", "final", "lower", "start", "text")

    def __init__(self, text: str, field: str = "", start: int = 0, final: bool = True) -> None:
        self.text, self.field, self.start, self.final = text, field, start, final
        # hints may stand before the start
        self.lower = text[max(0, start - 3 * BEFORE) :].lower()
        self.digits = _DIGIT.search(text, start) is not None
        self._asked: dict[re.Pattern[str], int] = {}
        self._places: dict[re.Pattern[str], tuple[list[int], list[int]]] = {}

    def holds(self, needs: tuple[str, ...]) -> bool:
        """Whether one of ``needs`` is there: "0" is any digit, the others are in lower case."""
        lower = self.lower
        for need in needs:  # noqa: SIM110  three times as quick as any(), and asked for each form
            if self.digits if need == "0" else need in lower:
                return True
        return False

    def count(self) -> int:
        """How many digits there are."""
        return len(_DIGIT.findall(self.text, self.start)) if self.digits else 0

    def near(self, pattern: re.Pattern[str], start: int, end: int) -> bool | None:
        """Whether a word stands near ``text[start:end]`` or in the field's name; None: what follows decides."""
        if self.field and pattern.search(self.field):
            return True
        if self._stood(pattern, start - BEFORE, start):
            return True
        # what is read after the value ends with the window, so that no text behind it changes the answer
        after = pattern.search(self.text, end, end + AFTER)
        open_end = not self.final and end + AFTER > len(self.text)
        if after is not None and not (open_end and after.end("word") == len(self.text)):
            return True
        return None if open_end else False

    def before(self, pattern: re.Pattern[str], start: int, size: int = AFTER) -> bool:
        """Whether a word stands in the last ``size`` characters before ``start``."""
        return pattern.search(self.text, max(0, start - size), start) is not None

    def _stood(self, pattern: re.Pattern[str], low: int, high: int) -> bool:
        places = self._places.get(pattern)
        if places is None:
            asked = self._asked[pattern] = self._asked.get(pattern, 0) + 1
            if asked <= FEW:  # around a few values is quicker than in the whole text
                # one character more, so that a word that goes on there is none
                found = pattern.finditer(self.text, max(0, low), high + 1)
                return any(match.end("word") <= high for match in found)
            # from well before the first window, so that where the search begins makes no difference in it
            spans = [m.span("word") for m in pattern.finditer(self.text, max(0, self.start - 3 * BEFORE))]
            if not self.final and spans and spans[-1][1] == len(self.text):
                spans.pop()  # the word may go on
            places = self._places[pattern] = [s for s, _ in spans], [e for _, e in spans]
        starts, ends = places
        at = bisect_left(starts, low)
        return at < len(starts) and ends[at] <= high


_DIGIT = re.compile(r"\d")

DIGIT = r"[\d+(]"
# what goes on over a blank behind a whole word with a letter in it
LETTERED = (
    r"\d(?:(?<=[A-Za-z]{2}\d)\d|[A-Za-z],? |st|nd|rd|th|[ .-]{0,2}(?:ext|x)|[A-Za-z]?,? (?:[^\W\d_a-z]|of|de|la)"
    r"|[ -]{1,2}(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
    r"| {1,3}(?i:office|work|home|main|direct|desk|private))"
)
CAPITAL = r"(?<![A-Za-z])(?:[A-Z]{1,2}|[MDPS][A-Za-z.]{0,5}) |(?:straße|strasse|str\.|gasse|weg|allee|platz) "
BEING = r"[A-Z](?:(?<=I am .)|(?<=I['’]m .))"
FIRST_WORDS = (
    "pass", "pwd", "private", "secret", "api", "access", "app", "client", "token", "bearer", "basic", "kennwort",
    "name", "called", "signed", "this", "user", "customer", "patient", "employee", "contact", "applicant", "account",
    "location", "hometown", "city", "located", "liv", "resid", "based", "moved", "jan", "feb", "mar", "apr", "may",
    "jun", "jul", "aug", "sep", "oct", "nov", "dec",
)  # fmt: skip
WORD = rf"-----|(?i:{'|'.join(FIRST_WORDS)})"


class Form(Protocol):
    """One way in which values of a kind are written."""

    @property
    def kind(self) -> str:
        """What it finds."""

    @property
    def needs(self) -> tuple[str, ...]:
        """A text without all of these, in lower case, holds no such value; "0" stands for any digit."""

    @property
    def least(self) -> int:
        """A text with fewer digits holds no such value."""

    @property
    def hints(self) -> tuple[str, ...]:
        """A whole text, and its field's name, without any of these holds no such value; empty: no such rule."""

    @property
    def opening(self) -> str:
        """For streams: a pattern that matches whatever the form reads; empty for what has no blank in it."""

    @property
    def begins(self) -> str:
        """For streams: a quick pattern, one of :data:`DIGIT`, :data:`LETTERED`, :data:`CAPITAL`, :data:`WORD`,
        :data:`BEING`, that every text has in which a candidate of this form goes on over a blank. Those of the first
        read only digits and signs between blanks; those of the second go on over words with letters too."""

    def candidates(self, text: str, start: int) -> Iterator[Candidate]:
        """Everything from ``start`` on that looks like a value, in order."""

    def judge(self, scan: Scan, start: int, end: int) -> Finding | None:
        """What ``scan.text[start:end]`` is: a finding, nothing, or :data:`UNSURE`."""


class Pattern:
    """Finds one form of one kind of value.

    Every quantifier in ``form`` must be bounded: the time is then linear in the text. The value is the group ``v``
    where there is one, else the whole match. A group ``tail`` in a look-ahead belongs to the value: a match that fails
    its check then hides none that begins inside it. Put a character before what looks behind (``\\d(?<!x\\d)``, not
    ``(?<!x)\\d``): the search then skips quickly to that character.

    Args:
        accept: says whether a matched value is valid (a checksum, a range).
        score: of a finding; 1.0 where ``accept`` or a prefix leaves no doubt.
        near: words that must stand at most 64 characters before or 24 after the value, or in the field's name.
        unless: words right before the value (24 characters) that say that it is something else.
        needs, least: see :class:`Form`.
        hints: in lower case; where a whole text holds none of these, no word of ``near`` is there.
        place: what must be found in the 24 characters before the match; ends with ``\\Z``. So a form can begin where
            its value does, and a stream need not wait for what stands before values.
        begins: see :class:`Form`; empty where neither a value nor what the form reads before it can hold a blank.
    """

    def __init__(
        self,
        kind: str,
        form: str,
        score: float = 0.8,
        accept: Callable[[str], bool] | None = None,
        *,
        near: re.Pattern[str] | None = None,
        unless: re.Pattern[str] | None = None,
        needs: tuple[str, ...] = ("0",),
        hints: tuple[str, ...] = (),
        begins: str = DIGIT,
        least: int = 0,
        place: re.Pattern[str] | None = None,
    ) -> None:
        self.kind, self.score, self.accept, self.near, self.unless = kind, score, accept, near, unless
        self.needs, self.hints, self.place, self.least = needs, hints, place, least
        self.begins, self.opening = begins, form if begins else ""
        self.regex = re.compile(form)
        self._value = self.regex.groupindex.get("v", 0)
        self._tail = self.regex.groupindex.get("tail", 0)

    def candidates(self, text: str, start: int) -> Iterator[Candidate]:
        """See :class:`Form`."""
        for match in self.regex.finditer(text, start):
            first, last = match.span()
            if self.place is not None and not self.place.search(text[max(0, first - AFTER) : first]):
                yield Candidate(first, last, first, first)
                continue
            low, high = match.span(self._value)
            if self._tail:  # the value stands in a look-ahead, behind the end of the match
                high = last = match.end(self._tail)
            yield Candidate(first, last, low, high)

    def judge(self, scan: Scan, start: int, end: int) -> Finding | None:
        """See :class:`Form`."""
        if start == end:
            return None
        if self.accept is not None and not self.accept(scan.text[start:end]):
            return None
        if self.unless is not None and scan.before(self.unless, start):
            return None
        if self.near is not None and not (near := scan.near(self.near, start, end)):
            return UNSURE if near is None else None
        return Finding(start, end, self.kind, self.score)
