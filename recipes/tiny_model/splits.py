"""Draws that keep training and held-out data apart.

Every order id and every combination of slots belongs to exactly one split, decided by its CRC-32, so the two splits
are disjoint whatever the seed and the number of samples.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from typing import Literal, TypeVar

from phrases import PREFIXES, SUFFIXES

Split = Literal["train", "heldout"]
T = TypeVar("T")

HELDOUT_SHARE = 10
"""One combination in this many is held out."""


def split_of(*slots: str) -> Split:
    """The split that a combination of slot values belongs to."""
    return "heldout" if zlib.crc32("|".join(slots).encode()) % HELDOUT_SHARE == 0 else "train"


class Draw:
    """Random choices inside one split, repeatable from the seed."""

    def __init__(self, split: Split, seed: int) -> None:
        self.split = split
        self.random = random.Random(f"{split}-{seed}")

    def choice(self, pool: Sequence[T]) -> T:
        """One element of a pool, in either split."""
        return self.random.choice(pool)

    def chance(self, probability: float) -> bool:
        """True with this probability (0 to 1)."""
        return self.random.random() < probability

    def slots(self, *pools: Sequence[str]) -> tuple[str, ...]:
        """One value per pool such that the combination belongs to this split."""
        while True:
            values = tuple(self.random.choice(pool) for pool in pools)
            if split_of(*values) == self.split:
                return values

    def order_id(self) -> str:
        """An order id of this split, for example ``67-26``."""
        while True:
            value = f"{self.random.randrange(100):02d}-{self.random.randrange(100):02d}"
            if split_of(value) == self.split:
                return value

    def amount(self) -> str:
        """An amount in euros, two digits."""
        return str(self.random.randrange(10, 100))

    def question(self, pool: Sequence[str]) -> str:
        """A question of the pool, often between a greeting and a thanks.

        A bare question always counts as training data; of the decorated ones each combination belongs to one split.
        """
        while True:
            question = self.random.choice(pool)
            decorated = self.chance(0.45) or self.split == "heldout"
            prefix = self.random.choice(PREFIXES) if decorated else ""
            suffix = self.random.choice(SUFFIXES) if decorated and self.chance(0.5) else ""
            home = split_of(question, prefix, suffix) if prefix or suffix else "train"
            if home == self.split:
                return decorate(question, prefix, suffix)

    def asked(self, question: str) -> str:
        """A question that already carries slots of this split, sometimes with a greeting or a thanks."""
        if not self.chance(0.4):
            return question
        return decorate(question, self.choice(PREFIXES), self.choice(SUFFIXES))


def decorate(question: str, prefix: str, suffix: str) -> str:
    """A question between a prefix and a suffix; the first letter is lowered after a comma or a colon."""
    keeps_capital = question.startswith(("I ", "VPN"))
    if prefix.endswith((", ", ": ")) and not keeps_capital:
        question = question[0].lower() + question[1:]
    return prefix + question + suffix
