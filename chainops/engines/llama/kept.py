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

    def longest(self, adapters: Hashable, tokens: Tokens) -> int:
        """How many of ``tokens`` are the beginning of something here."""
        return self._tree.longest(adapters, tokens)[0]

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
        if not LEAST_KEPT <= len(tokens) <= self.pinnable:
            return False
        return self._tree.longest(adapters, tokens)[0] < len(tokens) * KNOWN

    def add(self, adapters: Hashable, tokens: Tokens, state: npt.NDArray[np.uint8], *, pinned: bool = False) -> None:
        """Keep ``tokens``, in place of what is the beginning of them, and of the least recently used."""
        if not len(state):
            return
        for other in [kept for kept in self._used if self._begins(kept, adapters, tokens)]:
            if other.pinned and len(other.tokens) == len(tokens):
                return
            if not other.pinned:
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

    def take(self, kept: Kept) -> bool:
        """Keep what was kept elsewhere. False: it is known, or there is no room."""
        room = self.pinnable if kept.pinned else self.limit - self.size
        if len(kept.tokens) > room or self._tree.longest(kept.adapters, kept.tokens)[0] == len(kept.tokens):
            return False
        self.add(kept.adapters, kept.tokens, kept.state, pinned=kept.pinned)
        return True

    @property
    def all(self) -> list[Kept]:
        """Everything that is kept, the least recently used first."""
        return list(self._used)

    @property
    def pinned(self) -> list[Kept]:
        """What stays until :meth:`unpin`."""
        return [kept for kept in self._used if kept.pinned]

    def is_pinned(self, adapters: Hashable, tokens: Tokens) -> bool:
        """Whether exactly this is pinned."""
        return any(kept.adapters == adapters and np.array_equal(kept.tokens, tokens) for kept in self.pinned)

    @property
    def pinnable(self) -> int:
        """How many more tokens can be pinned."""
        return self.limit - sum(len(kept.tokens) for kept in self.pinned)

    def unpin(self) -> None:
        """From now on nothing is pinned; what was goes when it is its turn."""
        for kept in self._used:
            kept.pinned = False

    @staticmethod
    def _begins(kept: Kept, adapters: Hashable, tokens: Tokens) -> bool:
        size = len(kept.tokens)
        return kept.adapters == adapters and size <= len(tokens) and bool(np.array_equal(kept.tokens, tokens[:size]))

    def _drop(self, kept: Kept) -> None:
        del self._used[kept]
        self._tree.remove(kept)
        self.size -= len(kept.tokens)
