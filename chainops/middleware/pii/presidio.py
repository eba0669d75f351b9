"""An analyzer of Presidio as a detector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chainops.middleware.pii.finding import Finding

__all__ = ["Presidio"]

_KINDS = {
    "EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE", "IBAN_CODE": "IBAN", "IN_AADHAAR": "AADHAAR", "IN_PAN": "PAN",
    "US_PASSPORT": "PASSPORT", "IN_PASSPORT": "PASSPORT", "GPE": "LOCATION",
}  # fmt: skip


class Presidio:
    """What ``analyzer.analyze(text=..., language=...)`` finds, under the names that the layer uses.

    The analyzer is yours: built once, with models from a folder of this machine. Presidio is not imported here.
    One that looks for URLs or mail addresses with ``tldextract`` fetches a list from the network when it is first used;
    give it recognizers without that.

    Args:
        analyzer: a ``presidio_analyzer.AnalyzerEngine``, or anything with such a method.
        language: which models it takes.
        entities: what it looks for; None: all that it can.
        kinds: how its names are called here; others keep theirs.
    """

    def __init__(
        self,
        analyzer: Any,
        *,
        language: str = "en",
        entities: list[str] | None = None,
        kinds: Mapping[str, str] | None = None,
    ) -> None:
        self._analyzer, self._language, self._entities = analyzer, language, entities
        self._kinds = {**_KINDS, **(kinds or {})}

    def find(self, text: str, field: str = "") -> Iterator[Finding]:
        """All findings of the analyzer."""
        for result in self._analyzer.analyze(text=text, language=self._language, entities=self._entities):
            kind = self._kinds.get(result.entity_type, result.entity_type)
            yield Finding(result.start, result.end, kind, min(float(result.score), 0.99))
