"""Calibration from labelled questions: half of them stand for what is known, the other half asks."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chainops.errors import SetupError
from chainops.middleware.semantic_cache.calibrate import Observation
from chainops.middleware.semantic_cache.guards import SOFT, difference
from chainops.middleware.semantic_cache.score import AGREED, NEIGHBOURS, combined
from chainops.store.semantic import VectorIndex

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["observe", "read_labelled"]


def read_labelled(path: Path) -> list[tuple[str, str]]:
    """Questions with the name of their right answer.

    JSONL or CSV with ``text`` and ``label`` (or ``category``); or pairs, with ``one``, ``other`` and ``same``:
    questions that pairs call the same, directly or through others, have one answer.

    Raises:
        SetupError: it cannot be read (``setup.calibration``); the row is named.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                rows: list[Any] = list(csv.DictReader(file))
            else:
                rows = [json.loads(line) for line in file if line.strip()]
    except (OSError, ValueError) as error:
        raise _wrong(f"{path} cannot be read: {error}") from None
    if rows and isinstance(rows[0], dict) and "one" in rows[0]:
        return _from_pairs(path, rows)
    found = []
    for number, row in enumerate(rows, 1):
        given = row if isinstance(row, dict) else {}
        text, label = given.get("text"), given.get("label", given.get("category"))
        if not isinstance(text, str) or label is None:
            raise _wrong(f"row {number} of {path} has no text and label")
        found.append((text.strip(), str(label)))
    return found


def _from_pairs(path: Path, rows: Sequence[Any]) -> list[tuple[str, str]]:
    first: dict[str, str] = {}

    def root(text: str) -> str:
        while first.setdefault(text, text) != text:
            first[text] = first[first[text]]
            text = first[text]
        return text

    for number, row in enumerate(rows, 1):
        given = row if isinstance(row, dict) else {}
        one, other, same = given.get("one"), given.get("other"), str(given.get("same")).lower()
        if not isinstance(one, str) or not isinstance(other, str) or same not in ("true", "false", "1", "0"):
            raise _wrong(f"row {number} of {path} has no one, other and same (true or false)")
        a, b = root(one.strip()), root(other.strip())
        if same in ("true", "1"):
            first[a] = b
    return [(text, root(text)) for text in list(first)]


def observe(questions: Sequence[tuple[str, str]], vectors: NDArray[np.float32], *, seed: int = 0) -> list[Observation]:
    """What each question would have got where one half of them, shuffled, is known and the other asks; both ways.

    Questions of one label have one answer: two known questions agree where their labels do.
    """
    order = list(range(len(questions)))
    random.Random(seed).shuffle(order)  # noqa: S311 - a shuffle that can be repeated
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    found = []
    for known, asked in (halves, halves[::-1]):
        index = VectorIndex(vectors.shape[1])
        index.add_many(known, vectors[known])
        found += [_observation(index, questions, vectors, i) for i in asked]
    return found


def _observation(index: VectorIndex, questions: Sequence[tuple[str, str]], vectors: Any, i: int) -> Observation:
    near = index.search(vectors[i], NEIGHBOURS)
    text, label = questions[i]
    best = near[0][0]
    agree = [questions[number][1] == questions[best][1] for number, _ in near]
    reason = difference(text, questions[best][0])
    if reason and not (reason in SOFT and sum(agree) >= AGREED):
        return Observation(None, right=questions[best][1] == label)
    return Observation(combined([cosine for _, cosine in near], agree), right=questions[best][1] == label)


def _wrong(problem: str) -> SetupError:
    return SetupError(
        problem,
        hint='One JSON object per line: {"text": ..., "label": ...}, or {"one": ..., "other": ..., "same": true}.',
        code="setup.calibration",
    )
