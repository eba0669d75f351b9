"""Questions with passages: made by program, or read from a file."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

from chainops.errors import SetupError
from chainops.middleware.compress.units import units_of

__all__ = ["Question", "made", "read"]


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Args:
        text: what is asked.
        answer: as it stands in the gold passage.
        passages: in the order of the prompt.
        gold: index of the passage with the answer.
    """

    text: str
    answer: str
    passages: tuple[str, ...]
    gold: int

    @property
    def context(self) -> str:
        """The passages, an empty line between them."""
        return "\n\n".join(self.passages)

    def sentences(self) -> list[str]:
        """The sentences of the gold passage with the answer."""
        answer = self.answer.lower()
        return [unit.text.strip() for unit in units_of(self.passages[self.gold]) if answer in unit.text.lower()]


def read(path: Path, limit: int | None = None) -> list[Question]:
    """Questions from JSON lines with ``question``, ``answer``, ``documents`` and ``gold``, an index.

    Questions whose answer does not stand in a sentence of the gold passage (yes, no) are left out.

    Raises:
        SetupError: code ``setup.compress``.
    """
    found: list[Question] = []
    number = 0
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        for line in lines:
            number += 1
            if line.strip() and (limit is None or len(found) < limit):
                row = json.loads(line)
                question = Question(row["question"], str(row["answer"]), tuple(row["documents"]), int(row["gold"]))
                if question.answer.lower() not in ("yes", "no") and question.sentences():
                    found.append(question)
    except OSError as error:
        raise SetupError(
            f"Cannot read {path}: {error.strerror}", hint="Check the path.", code="setup.compress"
        ) from None
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise SetupError(
            f"Line {number} of {path} is no question: {type(error).__name__}: {error}",
            hint='Write {"question": ..., "answer": ..., "documents": [...], "gold": 0} per line.',
            code="setup.compress",
        ) from None
    return found


_NAMES = ("Ada Berg", "Tom Ruiz", "Lena Vogt", "Omar Haddad", "Yuki Sato", "Ines Prado", "Paul Novak", "Mira Shah")
_CITIES = ("Oslo", "Porto", "Lyon", "Graz", "Bergen", "Turin", "Ghent", "Malmo", "Cork", "Bern", "Riga", "Split")
_THINGS = ("pump", "printer", "router", "heater", "scanner", "mixer", "camera", "drill", "charger", "monitor")
_MONTHS = ("January", "March", "April", "June", "August", "September", "October", "December")
_FILLER = (
    "The team met twice to talk about it.",
    "Most visitors liked the new entrance.",
    "It was a quiet week for everybody.",
    "Further details are in the yearly report.",
    "Several people asked for a second printer.",
    "The weather had little influence on the work.",
    "Nothing else was said about the matter.",
    "A small party took place afterwards.",
)


def made(count: int, *, seed: int = 7, passages: int = 12) -> list[Question]:
    """Questions made by program: every other passage says the same things of somebody or something else."""
    draw = random.Random(seed)  # noqa: S311 - examples
    found = []
    for _ in range(count):
        numbers = draw.sample(range(100, 999), passages)
        kind = draw.choice((_branch, _device, _order))
        rows = [kind(draw, number) for number in numbers]
        gold = draw.randrange(passages)
        texts = []
        for sentences, _, _ in rows:
            extra = draw.sample(_FILLER, 3)
            texts.append(" ".join([sentences[0], extra[0], *sentences[1:], *extra[1:]]))
        found.append(Question(rows[gold][1], rows[gold][2], tuple(texts), gold))
    return found


Row = tuple[list[str], str, str]


def _branch(draw: random.Random, number: int) -> Row:
    city, name, year = draw.choice(_CITIES), draw.choice(_NAMES), draw.randint(1950, 2019)
    floor = f"{draw.randint(2, 40) * 50} square metres"
    return (
        [f"Branch {number} stands in {city}.", f"It was opened in {year} by {name}.", f"Its shop floor has {floor}."],
        *draw.choice(
            (
                (f"Who opened branch {number}?", name),
                (f"How large is the shop floor of branch {number}?", floor),
                (f"In which year did branch {number} open?", str(year)),
            )
        ),
    )


def _device(draw: random.Random, number: int) -> Row:
    thing, volts = draw.choice(_THINGS), f"{draw.randint(3, 48)} volts"
    months = f"{draw.randint(1, 9) * 4} months"
    return (
        [
            f"Model {thing} {number} runs on {volts}.",
            f"The manufacturer gives a warranty of {months} for it.",
            f"It does not fit the older stand {draw.randint(1, 99)}.",
        ],
        *draw.choice(
            (
                (f"What voltage does the {thing} {number} need?", volts),
                (f"How long is the warranty of the {thing} {number}?", months),
            )
        ),
    )


def _order(draw: random.Random, number: int) -> Row:
    day = f"{draw.randint(1, 28)} {draw.choice(_MONTHS)}"
    sum_ = f"{draw.randint(10, 900)}.{draw.randint(10, 99)} euros"
    return (
        [
            f"Order {number} came from {draw.choice(_NAMES)} in {draw.choice(_CITIES)}.",
            f"It was paid with {sum_} and not by invoice.",
            f"The parcel left the warehouse on {day}.",
        ],
        *draw.choice(
            (
                (f"When did the parcel of order {number} leave?", day),
                (f"How much was paid for order {number}?", sum_),
            )
        ),
    )
