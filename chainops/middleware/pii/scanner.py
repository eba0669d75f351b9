"""Detectors over one text, and what they found without overlaps."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from chainops.errors import SetupError
from chainops.middleware.pii.credentials import CREDENTIALS, Field
from chainops.middleware.pii.finding import Detector, Finding, resolve
from chainops.middleware.pii.fold import fold
from chainops.middleware.pii.network import NETWORK
from chainops.middleware.pii.numbers import NUMBERS
from chainops.middleware.pii.pattern import Form, Scan
from chainops.middleware.pii.people import PEOPLE

__all__ = ["KINDS", "PatternDetector", "Scanner"]

BRIEF = 256
"""Characters of a text whose digits are worth counting before it is searched."""
_FORMS: tuple[Form, ...] = (*NETWORK, *NUMBERS, *CREDENTIALS, *PEOPLE)
KINDS: tuple[str, ...] = tuple(dict.fromkeys(form.kind for form in _FORMS))
"""The kinds of values that the built-in patterns know."""


class PatternDetector:
    """Finds values by typed patterns, checksums and the words around them. Time is linear in the text.

    Args:
        kinds: which of :data:`KINDS`; all without.

    Raises:
        SetupError: a kind is unknown, or there is none (``setup.pii``).

    >>> [f.kind for f in PatternDetector().find("Write to ann@example.com")]
    ['EMAIL']
    """

    def __init__(self, kinds: Collection[str] | None = None) -> None:
        wanted = set(KINDS if kinds is None else kinds)
        if unknown := sorted(wanted - set(KINDS)):
            close = difflib.get_close_matches(unknown[0], KINDS, n=1, cutoff=0.5)
            hint = f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(KINDS)}."
            raise SetupError(f"No pattern finds {unknown[0]!r}", hint=hint, code="setup.pii")
        if not wanted:
            raise SetupError("No kind of personal data is named", hint="Name at least one.", code="setup.pii")
        self.kinds = tuple(kind for kind in KINDS if kind in wanted)
        self.forms = tuple(form for form in _FORMS if form.kind in wanted)
        scored = [(form, float(getattr(form, "score", 1.0))) for form in self.forms]
        self._surest_first = sorted(scored, key=lambda pair: -pair[1])
        self._field = Field() if "SECRET" in wanted else None

    def find(self, text: str, field: str = "") -> list[Finding]:
        """All findings, but not those inside surer ones; those of different kinds may overlap."""
        folded = fold(text)
        found = self._find(folded.text, field)
        if folded.places is None:
            return found
        return [Finding(*folded.span(f.start, f.end), f.kind, f.score) for f in found]

    def _find(self, text: str, field: str) -> list[Finding]:
        scan = Scan(text, field)
        count = scan.count() if len(text) < BRIEF else len(text)
        found: list[Finding] = []
        # where a finding ends that stands at a place, and how sure those are: what lies in one of them is not judged
        reach, scores = [0] * len(text), dict[tuple[int, int], float]()
        for form, score in self._surest_first:
            if (
                count < form.least
                or not scan.holds(form.needs)
                or (form.hints and not field and not scan.holds(form.hints))
            ):
                continue
            for _, _, start, end in form.candidates(text, 0):
                if start == end or reach[start] > end or (reach[start] == end and scores.get((start, end), 0) > score):
                    continue
                if (judged := form.judge(scan, start, end)) is not None:
                    found.append(judged)
                    scores[start, end] = max(judged.score, scores.get((start, end), 0.0))
                    if reach[start] < end:
                        reach[start:end] = [end] * (end - start)
        if field and self._field is not None:
            for _, _, start, end in self._field.candidates(text, 0):
                if (judged := self._field.judge(scan, start, end)) is not None:
                    found.append(judged)
        return found


class Scanner:
    """What several detectors find in a text, without overlaps.

    Args:
        detectors: the built-in patterns without.
        threshold: findings with a lower score are left out, 0 to 1.

    Raises:
        SetupError: no detector, or the threshold is out of range (``setup.pii``).

    >>> Scanner().find("Card 4111 1111 1111 1111")
    [Finding(start=5, end=24, kind='CREDIT_CARD', score=1.0)]
    """

    def __init__(self, detectors: Sequence[Detector] | None = None, *, threshold: float = 0.5) -> None:
        self.detectors = (PatternDetector(),) if detectors is None else tuple(detectors)
        if not self.detectors:
            raise SetupError("The scanner has no detector", hint="Give one, or leave it out.", code="setup.pii")
        if not 0 <= threshold <= 1:
            raise SetupError(f"threshold is {threshold}", hint="Give a score between 0 and 1.", code="setup.pii")
        self.threshold = threshold

    def find(self, text: str, field: str = "") -> list[Finding]:
        """Findings in order of their place. ``field`` is the name of the field that holds the text."""
        least = self.threshold
        return resolve(f for d in self.detectors for f in d.find(text, field) if f.score >= least and f.start < f.end)
