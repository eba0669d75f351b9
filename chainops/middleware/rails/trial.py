"""How good rails are: labelled texts through them, counted, with intervals."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from chainops.errors import SetupError
from chainops.middleware.rails.measure import wilson

__all__ = ["Labelled", "Outcome", "histogram", "read_labelled", "report"]

Kind = Literal["attack", "harmless", "hard"]
ATTACKS = frozenset(
    [
        "1",
        "true",
        "yes",
        "attack",
        "jailbreak",
        "injection",
        "prompt_injection",
        "malicious",
        "unsafe",
        "harmful",
        "toxic",
        "adversarial",
        "positive",
        "bad",
        "block",
        "blocked",
        "leak",
    ]
)
HARMLESS = frozenset(
    [
        "0",
        "false",
        "no",
        "benign",
        "harmless",
        "safe",
        "ordinary",
        "normal",
        "ok",
        "legit",
        "legitimate",
        "clean",
        "negative",
        "good",
        "allow",
        "allowed",
    ]
)
HARD = frozenset(
    [
        "hard",
        "hard_negative",
        "hard_benign",
        "benign_hard",
        "borderline",
        "over_blocking",
        "overblocking",
        "over_refusal",
    ]
)
GROUPS = ("category", "source", "set", "kind", "type")


@dataclass(frozen=True, slots=True)
class Labelled:
    """One text. ``kind`` ``hard``: harmless with the words of an attack, counted apart. ``group``: of the row."""

    text: str
    kind: Kind
    group: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the rails did with one text. ``found``: anything but monitor; ``score``: where a rail has one."""

    of: Labelled
    found: bool
    blocked: bool
    score: float | None = None


def read_labelled(path: Path) -> list[Labelled]:
    """Texts from a JSONL file: objects with ``text`` and ``label`` (1/0, attack/benign ...), perhaps ``category``.

    A harmless row with ``"hard": true`` or a label such as ``hard_negative`` counts as over-blocking, no false alarm.

    Raises:
        SetupError: ``setup.labelled``: it cannot be read; the row is named.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(f"{path} cannot be read: {error}") from None
    found = [_row(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise _wrong(f"{path} has no row")
    return found


def _row(path: Path, number: int, line: str) -> Labelled:
    try:
        row = json.loads(line)
        text, label = row["text"], str(row["label"]).strip().lower().replace("-", "_").replace(" ", "_")
    except (ValueError, KeyError, TypeError) as error:
        raise _wrong(f"{path}, row {number}, is no object with text and label: {error!r}") from None
    if not isinstance(text, str):
        raise _wrong(f"{path}, row {number}: the text is {text!r}")
    label = label.removesuffix(".0")
    group = next((str(row[name]) for name in GROUPS if row.get(name) is not None), "")
    if label in ATTACKS:
        return Labelled(text, "attack", group)
    if label in HARD or (label in HARMLESS and row.get("hard") is True):
        return Labelled(text, "hard", group)
    if label in HARMLESS:
        return Labelled(text, "harmless", group)
    raise _wrong(f"{path}, row {number}: the label {row['label']!r} is none")


def _wrong(problem: str) -> SetupError:
    hint = 'Rows like {"text": "...", "label": "attack"}; labels: attack or 1, benign or 0, hard_negative.'
    return SetupError(problem, hint=hint, code="setup.labelled")


def report(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Recall, false alarms, over-blocking and precision, each with its Wilson interval (95 %), and all by group."""
    attacks = [o for o in outcomes if o.of.kind == "attack"]
    harmless = [o for o in outcomes if o.of.kind == "harmless"]
    hard = [o for o in outcomes if o.of.kind == "hard"]
    found = [o for o in outcomes if o.found]
    groups = sorted({(o.of.kind, o.of.group) for o in outcomes if o.of.group})
    return {
        "texts": len(outcomes),
        "recall": _rate(attacks, lambda o: o.found),
        "recall_blocked": _rate(attacks, lambda o: o.blocked),
        "false_alarms": _rate(harmless, lambda o: o.found),
        "false_blocks": _rate(harmless, lambda o: o.blocked),
        "over_blocking": _rate(hard, lambda o: o.found),
        "over_blocking_blocked": _rate(hard, lambda o: o.blocked),
        "precision": _rate(found, lambda o: o.of.kind == "attack"),
        "groups": [
            {
                "kind": k,
                "group": g,
                **_rate([o for o in outcomes if (o.of.kind, o.of.group) == (k, g)], lambda o: o.found),
            }
            for k, g in groups
        ],
    }


def _rate(outcomes: Iterable[Outcome], hit: Any) -> dict[str, Any]:
    hits = [bool(hit(o)) for o in outcomes]
    low, high = wilson(sum(hits), len(hits))
    return {
        "hits": sum(hits),
        "of": len(hits),
        "rate": sum(hits) / len(hits) if hits else None,
        "low": low,
        "high": high,
    }


def histogram(outcomes: Sequence[Outcome], *, bins: int = 10, width: int = 40) -> list[str]:
    """The scores of each kind of text as bars, one line for each bin; empty where no rail has a score."""
    scores = {
        k: [o.score for o in outcomes if o.of.kind == k and o.score is not None] for k in ("attack", "harmless", "hard")
    }
    shown = {k: v for k, v in scores.items() if v}
    lines = [] if not shown else ["score      " + "".join(f"{k:<{width // len(shown) + 8}}" for k in shown)]
    for i in range(bins if shown else 0):
        cells = []
        for values in shown.values():
            share = sum(min(int(v * bins), bins - 1) == i for v in values) / len(values)
            size = width // len(shown)
            bar = "█" * round(share * size) or ("▏" if share else "")
            cells.append(f"{bar:<{size}} {share:6.1%} ")
        lines.append(f"{i / bins:.1f}-{(i + 1) / bins:.1f}    " + "".join(cells))
    return lines
