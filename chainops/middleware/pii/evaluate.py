"""How good a scanner is on labelled texts: recall and precision by kind, with intervals."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainops.errors import SetupError
from chainops.middleware.pii.scanner import Scanner

__all__ = ["Labelled", "Score", "evaluate", "mistakes", "read_labelled", "wilson"]

_OTHER_NAMES = {
    "EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE", "IBAN_CODE": "IBAN", "IN_AADHAAR": "AADHAAR", "IN_PAN": "PAN",
    "US_PASSPORT": "PASSPORT", "IN_PASSPORT": "PASSPORT", "PASSWORD": "SECRET",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text, and where which kinds of values stand in it."""

    text: str
    spans: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True, slots=True)
class Score:
    """Figures of one kind: ``found`` of ``there`` values, ``wrong`` findings where no such value is."""

    kind: str
    there: int
    found: int
    wrong: int

    @property
    def recall(self) -> float | None:
        """Share of the values that were found; None where there are none."""
        return self.found / self.there if self.there else None

    @property
    def precision(self) -> float | None:
        """Share of the findings that are right; None where nothing was found."""
        return self.found / (self.found + self.wrong) if self.found + self.wrong else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: figures and their 95 % intervals."""
        return {
            "kind": self.kind,
            "there": self.there,
            "found": self.found,
            "wrong": self.wrong,
            "recall": self.recall,
            "recall_interval": wilson(self.found, self.there),
            "precision": self.precision,
            "precision_interval": wilson(self.found, self.found + self.wrong),
        }


def wilson(hits: int, tries: int, z: float = 1.959964) -> tuple[float, float] | None:
    """The interval of Wilson (1927) for a share, at 95 % unless ``z`` says otherwise; None without tries."""
    if not tries:
        return None
    share, square = hits / tries, z * z
    middle = (share + square / (2 * tries)) / (1 + square / tries)
    half = z * math.sqrt(share * (1 - share) / tries + square / (4 * tries * tries)) / (1 + square / tries)
    return max(0.0, middle - half), min(1.0, middle + half)


def evaluate(scanner: Scanner, texts: Iterable[Labelled], kinds: Sequence[str] | None = None) -> list[Score]:
    """Figures by kind, and for ``all`` of them last.

    A value counts as found where one finding of its kind covers all of it; a finding is wrong where it touches no value
    of its kind. Kinds that the labels never name are left out, unless ``kinds`` names them: the texts may hold values
    of those without saying so.
    """
    texts = list(texts)
    named = set(kinds) if kinds is not None else {kind for labelled in texts for _, _, kind in labelled.spans}
    there, found, wrong = Counter[str](), Counter[str](), Counter[str]()
    for labelled in texts:
        seen = [f for f in scanner.find(labelled.text) if f.kind in named]
        for start, end, kind in labelled.spans:
            if kind in named:
                there[kind] += 1
                found[kind] += any(f.kind == kind and f.start <= start and end <= f.end for f in seen)
        for f in seen:
            wrong[f.kind] += not any(k == f.kind and s < f.end and f.start < e for s, e, k in labelled.spans)
    scores = [Score(kind, there[kind], found[kind], wrong[kind]) for kind in sorted(named)]
    return [*scores, Score("all", there.total(), found.total(), wrong.total())]


def mistakes(
    scanner: Scanner, texts: Iterable[Labelled], kinds: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Every value that was missed, and every finding that is wrong."""
    texts = list(texts)
    named = set(kinds) if kinds is not None else {kind for labelled in texts for _, _, kind in labelled.spans}
    for labelled in texts:
        text = labelled.text
        seen = [f for f in scanner.find(text) if f.kind in named]
        for start, end, kind in labelled.spans:
            if kind in named and not any(f.kind == kind and f.start <= start and end <= f.end for f in seen):
                yield {"what": "missed", "kind": kind, "value": text[start:end], "text": text}
        for f in seen:
            if not any(k == f.kind and s < f.end and f.start < e for s, e, k in labelled.spans):
                yield {"what": "wrong", "kind": f.kind, "value": text[f.start : f.end], "text": text}


def read_labelled(path: Path) -> list[Labelled]:
    """Labelled texts from JSON Lines, or from one JSON list.

    A line is ``{"text": ..., "spans": [{"start": 0, "end": 5, "kind": "EMAIL"}]}``. The form of presidio-research
    (``full_text``, ``entity_type``, ``start_position``, ``end_position``) is read too.

    Raises:
        SetupError: the file cannot be read, or a line has another form (``setup.pii_file``).
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _bad(path, f"it cannot be read: {error}") from None
    try:
        rows = json.loads(text) if text.lstrip()[:1] == "[" else [json.loads(x) for x in text.splitlines() if x.strip()]
        found = [_labelled(row) for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _bad(path, f"{type(error).__name__}: {error}") from None
    if not found:
        raise _bad(path, "it is empty")
    return found


def _labelled(row: Mapping[str, Any]) -> Labelled:
    text = row["full_text"] if "full_text" in row else row["text"]
    if not isinstance(text, str):
        raise TypeError("a text is no string")
    spans = []
    for span in row["spans"]:
        kind = str(span.get("kind") or span["entity_type"])
        start, end = (int(span[k] if k in span else span[f"{k}_position"]) for k in ("start", "end"))
        if not 0 <= start < end <= len(text):
            raise ValueError(f"a span {start}:{end} lies outside its text of {len(text)} characters")
        spans.append((start, end, _OTHER_NAMES.get(kind, kind)))
    return Labelled(text, tuple(spans))


def _bad(path: Path, why: str) -> SetupError:
    return SetupError(
        f"{path} is no file of labelled texts: {why}",
        hint='Each line: {"text": "...", "spans": [{"start": 0, "end": 5, "kind": "EMAIL"}]}',
        code="setup.pii_file",
    )
