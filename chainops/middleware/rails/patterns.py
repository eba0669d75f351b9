"""Rails that need no model: patterns, and words that must not occur."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from chainops.errors import SetupError
from chainops.gate import Edit, Patterns, Rule, Watch, guard
from chainops.middleware.rails.rail import Rail, Subject
from chainops.middleware.rails.verdict import ALLOW, Verdict

__all__ = ["PATIENCE", "DenyList", "PatternRail"]

PATIENCE = 0.1  # seconds: a pattern that backtracks for longer counts as broken, and the event loop goes on


class PatternRail(Rail):
    """Finds regular expressions (syntax of the ``regex`` package), and can take out what they match.

    Args:
        patterns: by category; a sequence of patterns has the rail's name as its category.
        replacement: stands for a match under the policy ``redact``; ``{category}`` in it is filled in.
        ignore_case: letters match in both cases.

    Raises:
        SetupError: no pattern, one that does not compile, or one that matches the empty text (``setup.rail``).
    """

    rewrites: ClassVar[bool] = True

    def __init__(
        self,
        name: str,
        patterns: Mapping[str, str] | Sequence[str],
        *,
        replacement: str = "[{category}]",
        ignore_case: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(name, **options)
        by_category = patterns.items() if isinstance(patterns, Mapping) else [(name, p) for p in patterns]
        self.patterns = [(category, _compiled(name, source, ignore_case)) for category, source in by_category]
        self.replacement = replacement
        if not self.patterns:
            raise SetupError(f"Rail {name!r} has no pattern", hint="Give at least one.", code="setup.rail")
        try:
            self._redacting: Watch | None = self.watch()
        except SetupError:  # a pattern that cannot be watched piece by piece: whole texts only
            self._redacting = None

    def describe(self) -> dict[str, Any]:
        """Its patterns too."""
        return {**super().describe(), "patterns": [[category, p.pattern] for category, p in self.patterns]}

    def watch(self, found: Callable[[str, str], str] | None = None) -> Watch:
        """What guards a stream piece by piece.

        Args:
            found: makes a replacement of a category and what matched, or raises; None: the rail's replacement.

        Raises:
            SetupError: a pattern cannot be watched in a stream (``setup.pattern``).
        """

        def rule(category: str, pattern: Any) -> Rule:
            fixed = self.replacement.format(category=category)

            def replace(value: str) -> str:
                if not self.counts(category, value):
                    return value
                return fixed if found is None else found(category, value)

            source = f"(?i:{pattern.pattern})" if pattern.flags & _IGNORE_CASE else pattern.pattern
            return Rule(self.name, source, replace)

        return Patterns([rule(category, pattern) for category, pattern in self.patterns], timeout_s=PATIENCE)

    def counts(self, category: str, value: str) -> bool:
        """Whether what matched is really meant; subclasses look closer here."""
        return True

    def spans(self, text: str) -> list[tuple[int, int, str]]:
        """Where something matches: begin, end, category; raises ``TimeoutError`` for a pattern that backtracks."""
        return [
            (*match.span(), category)
            for category, pattern in self.patterns
            for match in pattern.finditer(text, timeout=PATIENCE)
            if self.counts(category, match[0])
        ]

    async def check(self, subject: Subject) -> Verdict:
        """Blocked when something matches; its text is the one without."""
        text = subject.text
        for _, pattern in self.patterns:
            if pattern.search(text, timeout=PATIENCE):
                break
        else:
            return ALLOW
        found = self.spans(text)
        return self._verdict(text, found) if found else ALLOW

    def _verdict(self, text: str, found: list[tuple[int, int, str]]) -> Verdict:
        categories = sorted({category for _, _, category in found})
        return Verdict(
            "block",
            f"{len(found)} matches of {', '.join(categories)}",
            categories[0],
            text=self.without(text, found),
            details={"matches": [[begin, end, category] for begin, end, category in found[:50]]},
        )

    def without(self, text: str, found: Iterable[tuple[int, int, str]]) -> str:
        """``text`` with the replacement for each match, exactly as a stream would have it."""
        if self._redacting is not None:
            return guard(self._redacting, text)
        out, at = [], 0
        for begin, end, category in sorted(found):
            if begin >= at:
                out += [text[at:begin], self.replacement.format(category=category)]
            at = max(at, end)
        return "".join([*out, text[at:]])


_IGNORE_CASE = 0x2  # regex.IGNORECASE


def _compiled(name: str, source: str, ignore_case: bool) -> Any:
    import regex

    try:
        pattern = regex.compile(source, flags=regex.IGNORECASE if ignore_case else 0)
        empty = pattern.search("", timeout=PATIENCE)
    except (regex.error, TypeError, TimeoutError) as error:
        raise SetupError(
            f"Rail {name!r}: the pattern {source!r} is none: {error}", hint="Mend it.", code="setup.rail"
        ) from None
    if empty is not None:
        raise SetupError(
            f"Rail {name!r}: the pattern {source!r} matches the empty text",
            hint="Make it match at least one character.",
            code="setup.rail",
        )
    return pattern


class DenyList(PatternRail):
    """Words and phrases that must not occur: whole words, in any case, signs in compatibility forms (NFKC) folded.

    White space within a phrase matches up to eight signs of it.
    """

    def __init__(self, name: str, words: Iterable[str], **options: Any) -> None:
        import regex

        wanted = sorted({unicodedata.normalize("NFKC", w).strip() for w in words}, key=len, reverse=True)
        if not any(wanted):
            raise SetupError(f"Rail {name!r} has no word", hint="Give at least one.", code="setup.rail")
        parts = [r"\s{1,8}".join(map(regex.escape, word.split())) for word in wanted if word]
        options.setdefault("ignore_case", True)
        super().__init__(name, [rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)"], **options)
        self.words = tuple(wanted)

    def watch(self, found: Callable[[str, str], str] | None = None) -> Watch:
        """As for patterns, on the folded text."""
        return _Folded(super().watch(found))

    async def check(self, subject: Subject) -> Verdict:
        """As for patterns, on the folded text."""
        text = subject.text
        if text.isascii():
            return await super().check(subject)
        folded, places = _folded(text)
        found = self.spans(folded)
        back = [(_back(places, begin), _back(places, end), category) for begin, end, category in found]
        return self._verdict(text, back) if found else ALLOW


class _Folded:
    """A watch that reads compatibility forms as what they stand for, and edits the text as it is."""

    def __init__(self, inner: Watch) -> None:
        self.inner = inner

    def settle(self, text: str, start: int, final: bool) -> tuple[int, Sequence[Edit]]:
        if text.isascii():
            return self.inner.settle(text, start, final)
        folded, places = _folded(text)
        cut, edits = self.inner.settle(folded, bisect_left(places, start), final)
        back = [Edit(_back(places, e.start), _back(places, e.end), e.replacement) for e in edits]
        return (len(text) if cut == len(folded) else places[cut]), back


def _folded(text: str) -> tuple[str, list[int]]:
    """Each sign by itself in compatibility form, and of each sign of the result where it comes from."""
    out, places = [], []
    for i, sign in enumerate(text):
        form = sign if sign < "\x80" else unicodedata.normalize("NFKC", sign)
        out.append(form)
        places += [i] * len(form)
    places.append(len(text))
    return "".join(out), places


def _back(places: list[int], at: int) -> int:
    """Where the text goes on after ``at`` signs of the folded one; a sign is never cut."""
    return places[at] if at == 0 or places[at] != places[at - 1] else places[bisect_right(places, places[at])]
