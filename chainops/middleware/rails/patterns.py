"""Rails that need no model: patterns, and words that must not occur."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from chainops.errors import SetupError
from chainops.middleware.rails.rail import Rail, Subject
from chainops.middleware.rails.verdict import ALLOW, Verdict

__all__ = ["DenyList", "PatternRail"]

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

    def describe(self) -> dict[str, Any]:
        """Its patterns too."""
        return {**super().describe(), "patterns": [[category, p.pattern] for category, p in self.patterns]}

    def spans(self, text: str) -> list[tuple[int, int, str]]:
        """Where something matches: begin, end, category; raises ``TimeoutError`` for a pattern that backtracks."""
        return [
            (*match.span(), category)
            for category, pattern in self.patterns
            for match in pattern.finditer(text, timeout=PATIENCE)
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
        categories = sorted({category for _, _, category in found})
        return Verdict(
            "block",
            f"{len(found)} matches of {', '.join(categories)}",
            categories[0],
            text=self.without(text, found),
            details={"matches": [[begin, end, category] for begin, end, category in found[:50]]},
        )

    def without(self, text: str, found: Iterable[tuple[int, int, str]]) -> str:
        """``text`` with the replacement for each match; matches that overlap are one."""
        out, at = [], 0
        for begin, end, category in sorted(found):
            if begin >= at:
                out += [text[at:begin], self.replacement.format(category=category)]
            at = max(at, end)
        return "".join([*out, text[at:]])


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
    """Words and phrases that must not occur: whole words, in any case, compatibility forms (NFKC) folded.

    White space within a phrase matches any run of it.
    """

    def __init__(self, name: str, words: Iterable[str], **options: Any) -> None:
        import regex

        wanted = sorted({unicodedata.normalize("NFKC", w).strip() for w in words}, key=len, reverse=True)
        if not any(wanted):
            raise SetupError(f"Rail {name!r} has no word", hint="Give at least one.", code="setup.rail")
        parts = [r"\s+".join(map(regex.escape, word.split())) for word in wanted if word]
        options.setdefault("ignore_case", True)
        super().__init__(name, [rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)"], **options)
        self.words = tuple(wanted)

    async def check(self, subject: Subject) -> Verdict:
        """As for patterns; a text that matches only after folding has nothing that could be taken out of it."""
        verdict = await super().check(subject)
        if verdict is ALLOW and not subject.text.isascii():
            folded = unicodedata.normalize("NFKC", subject.text)
            if folded != subject.text:
                verdict = await super().check(Subject(folded, subject.place))
        return verdict
