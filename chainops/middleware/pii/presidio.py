"""An analyzer of Presidio as a detector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from chainops.errors import MissingExtra, SetupError
from chainops.middleware.pii.finding import Finding

__all__ = ["NAMES", "Presidio"]

NAMES = ("PERSON", "LOCATION")
"""What a model is asked for where nothing is said, in Presidio's words."""

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

    @classmethod
    def from_folder(
        cls, folder: str | Path, *, language: str = "en", entities: Sequence[str] = NAMES, threshold: float = 0.0
    ) -> Presidio:
        """Names and places by a spaCy model in a folder of this machine. Nothing is fetched.

        Of Presidio's recognizers only the one that asks the model is taken: what has a pattern is found quicker, and
        with checks, by the patterns of this layer.

        Args:
            folder: what ``spacy.load`` reads, with entities: the folder of ``en_core_web_sm``, or one of your own.
            language: of the model.
            entities: what it looks for, in Presidio's words.
            threshold: findings with a lower score are left out.

        Raises:
            MissingExtra: Presidio is not installed.
            SetupError: the folder holds no such model (``setup.pii_model``).
        """
        try:
            import spacy
            from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
            from presidio_analyzer.nlp_engine import SpacyNlpEngine
            from presidio_analyzer.predefined_recognizers import SpacyRecognizer
        except ImportError as error:
            raise MissingExtra(
                "presidio", package="presidio-analyzer", needed_for="Finding names and places"
            ) from error
        path = Path(folder)
        try:
            if not path.is_dir():
                raise OSError("there is no such folder")
            model = spacy.load(path)
            if not {"ner", "entity_ruler"} & set(model.pipe_names):
                raise ValueError(f"it finds no entities (it has {', '.join(model.pipe_names) or 'nothing'})")
        except Exception as error:
            raise SetupError(
                f"{path} is no model of spaCy for names and places: {error}",
                hint="Give the folder of one, as `spacy.load` reads it.",
                code="setup.pii_model",
            ) from error

        class Local(SpacyNlpEngine):  # type: ignore[misc]
            """An engine that has its model already."""

            def __init__(self) -> None:
                super().__init__(models=[{"lang_code": language, "model_name": path.name}])
                self.nlp = {language: model}

            def load(self) -> None:
                """Nothing is left to do."""

        registry = RecognizerRegistry(supported_languages=[language])
        registry.add_recognizer(SpacyRecognizer(supported_language=language, supported_entities=list(entities)))
        analyzer = AnalyzerEngine(
            registry=registry,
            nlp_engine=Local(),
            supported_languages=[language],
            default_score_threshold=threshold,
        )
        return cls(analyzer, language=language, entities=list(entities))

    def find(self, text: str, field: str = "") -> Iterator[Finding]:
        """All findings of the analyzer."""
        for result in self._analyzer.analyze(text=text, language=self._language, entities=self._entities):
            kind = self._kinds.get(result.entity_type, result.entity_type)
            yield Finding(result.start, result.end, kind, min(float(result.score), 0.99))
