"""Finished sequences in ordinary memory, for those that begin alike: the least recently used go first."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chainops.engines.llama.batch import Tokens
from chainops.engines.llama.prefixes import PrefixTree

__all__ = ["LEAST_KEPT", "Kept", "KeptPrefixes"]

LEAST_KEPT = 4
KNOWN = 7 / 8
"""If so much of a sequence is kept already, the rest is cheaper computed than everything copied."""
WORTH = 64
"""A prefix shorter than this part of what is kept is not worth bringing all of it back."""


@dataclass(slots=True, eq=False)
class Kept:
    """What was computed of ``tokens`` with ``adapters``, as llama.cpp writes it."""

    adapters: Hashable
    tokens: Tokens
    state: npt.NDArray[np.uint8]
    pinned: bool = False


class KeptPrefixes:
    """Up to ``limit`` tokens of finished sequences."""

    def __init__(self, limit: int) -> None:
        self.limit, self.size = limit, 0
        self._used: dict[Kept, None] = {}  # least recently used first
        self._tree: PrefixTree[Kept] = PrefixTree()

    def __len__(self) -> int:
        return len(self._used)

    def find(self, adapters: Hashable, tokens: Tokens) -> tuple[Kept | None, int]:
        """What has the longest beginning of ``tokens``, and how many of them; None if it is not worth while."""
        size, holders = self._tree.longest(adapters, tokens)
        best = min(holders, key=lambda kept: len(kept.tokens), default=None)
        if best is None or size < LEAST_KEPT or size * WORTH < len(best.tokens):
            return None, 0
        if size * 2 >= len(best.tokens):  # more than what every prompt begins with
            del self._used[best]
            self._used[best] = None
        return best, size

    def wants(self, adapters: Hashable, tokens: Tokens) -> bool:
        """Whether it pays to keep ``tokens``."""
        if not LEAST_KEPT <= len(tokens) <= self.limit - self._pinned:
            return False
        return self._tree.longest(adapters, tokens)[0] < len(tokens) * KNOWN

    def add(self, adapters: Hashable, tokens: Tokens, state: npt.NDArray[np.uint8], *, pinned: bool = False) -> None:
        """Keep ``tokens``, in place of what is the beginning of them, and of the least recently used."""
        if not len(state):
            return
        for other in [kept for kept in self._used if not kept.pinned and self._begins(kept, adapters, tokens)]:
            self._drop(other)
        kept = Kept(adapters, tokens, state, pinned)
        for other in list(self._used):
            if self.size + len(tokens) <= self.limit:
                break
            if not other.pinned:
                self._drop(other)
        self._used[kept] = None
        self._tree.add(adapters, tokens, kept)
        self.size += len(tokens)

    @property
    def _pinned(self) -> int:
        return sum(len(kept.tokens) for kept in self._used if kept.pinned)

    @staticmethod
    def _begins(kept: Kept, adapters: Hashable, tokens: Tokens) -> bool:
        size = len(kept.tokens)
        return kept.adapters == adapters and size <= len(tokens) and bool(np.array_equal(kept.tokens, tokens[:size]))

    def _drop(self, kept: Kept) -> None:
        del self._used[kept]
        self._tree.remove(kept)
        self.size -= len(kept.tokens)
