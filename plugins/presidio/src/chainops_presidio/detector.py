"""An analyzer of Presidio that asks one spaCy model, and fetches nothing."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainops.errors import MissingExtra, SetupError
from chainops.middleware.pii import Finding
from chainops.middleware.pii.presidio import Presidio

if TYPE_CHECKING:
    from chainops_presidio import Options

__all__ = ["Names"]

_PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]*(?:_\d+|:[0-9a-f]+)?>")
LONGEST = 64
_USUAL = {
    "PERSON": "PERSON", "PER": "PERSON",
    "LOC": "LOCATION", "GPE": "LOCATION", "FAC": "LOCATION", "LOCATION": "LOCATION",
    "ORG": "ORGANIZATION", "ORGANIZATION": "ORGANIZATION", "NORP": "NRP", "NRP": "NRP", "DATE": "DATE_TIME",
    "TIME": "DATE_TIME", "DATE_TIME": "DATE_TIME",
}  # fmt: skip


class Names:
    """Names and places in a text. For all threads: one at a time asks the model.

    Raises:
        MissingExtra: Presidio or spaCy is not installed.
        SetupError: there is no such model, or it knows nothing of what is looked for (``setup.detector``).
    """

    def __init__(self, options: Options) -> None:
        self._lock = threading.Lock()
        self._presidio = Presidio(_analyzer(options), language=options.language, entities=list(options.entities))

    def find(self, text: str, field: str = "") -> list[Finding]:
        """As ``Detector.find``."""
        if not any(map(str.isalpha, text)):
            return []
        with self._lock:
            found = list(self._presidio.find(text, field))
        return [piece for finding in found for piece in _outside(finding, text)]


def _outside(finding: Finding, text: str) -> Iterator[Finding]:
    """The pieces of a finding that are no placeholder: models take "<PERSON_1>", or a part of it, for a name."""
    at = finding.start
    for one in [*_PLACEHOLDER.finditer(text, max(0, finding.start - LONGEST), finding.end + LONGEST), None]:
        end = finding.end if one is None else min(one.start(), finding.end)
        if any(map(str.isalpha, text[at:end])):
            yield finding._replace(start=at, end=end)
        if one is not None:
            at = max(at, one.end())


def _analyzer(options: Options) -> Any:
    try:
        import spacy
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
        from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
        from presidio_analyzer.predefined_recognizers import SpacyRecognizer
    except ImportError as error:
        raise MissingExtra("presidio", package="presidio-analyzer", needed_for="The plugin presidio") from error
    # Presidio downloads a model that is not there: it must never come to that
    if not (spacy.util.is_package(options.model) or (Path(options.model) / "meta.json").is_file()):
        raise SetupError(
            f"There is no spaCy model {options.model!r}: neither a folder with meta.json nor an installed package",
            hint="Give [plugins.presidio].model the folder of one; nothing is downloaded.",
            code="setup.detector",
        )
    labels = {**_USUAL, **options.labels}
    configuration = NerModelConfiguration(
        labels_to_ignore=[],
        model_to_presidio_entity_mapping=labels,
        default_score=options.score,
        low_confidence_score_multiplier=1.0,
        low_score_entity_names=[],
    )
    engine = SpacyNlpEngine([{"lang_code": options.language, "model_name": options.model}], configuration)
    try:
        engine.load()
    except (OSError, ValueError, ImportError) as error:
        raise SetupError(
            f"The spaCy model {options.model!r} cannot be loaded: {error}",
            hint="Models belong to a version of spaCy: `python -m spacy validate` says which fit.",
            code="setup.detector",
        ) from error
    known = _finds(engine.nlp[options.language], labels)
    if missing := sorted(set(options.entities) - known):
        raise SetupError(
            f"The spaCy model {options.model!r} finds no {', '.join(missing)}; it finds {', '.join(sorted(known))}",
            hint="Mend [plugins.presidio].entities, or say in labels what the labels of the model mean.",
            code="setup.detector",
        )
    # this recognizer only: the patterns of chainops are stricter, and one of Presidio's asks the network for a list
    registry = RecognizerRegistry(supported_languages=[options.language])
    registry.add_recognizer(
        SpacyRecognizer(supported_language=options.language, supported_entities=list(options.entities))
    )
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[options.language])


def _finds(model: Any, labels: dict[str, str]) -> set[str]:
    own = {label for pipe in model.pipe_labels for label in model.pipe_labels[pipe] if pipe in ("ner", "entity_ruler")}
    return {labels[label] for label in own if label in labels}
