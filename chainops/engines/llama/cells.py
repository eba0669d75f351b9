"""Who was promised which cell of the context: the plan that keeps llama.cpp's cache from ever being full.

A cell holds the keys and values of one token. Sequences with a common prefix share its cells. The numbers here are not
llama.cpp's own (it places tokens as it likes), but as many are taken as it will need at most.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from chainops.engines.llama.batch import Tokens

__all__ = ["Cells"]


class Cells:
    """``count`` cells, each free or held by one or more sequences."""

    def __init__(self, count: int) -> None:
        self.count = self.free = count
        self._holders = np.zeros(count, np.int32)
        self._stack = np.arange(count, dtype=np.int32)[::-1].copy()

    def take(self, count: int) -> Tokens:
        """``count`` free cells (there must be as many), now held once."""
        if count > self.free:
            raise ValueError(f"{count} cells wanted, {self.free} are free")
        taken: Tokens = self._stack[self.free - count : self.free].copy()
        self.free -= count
        self._holders[taken] = 1
        return taken

    def share(self, cells: Tokens) -> Tokens:
        """The same cells, held once more."""
        self._holders[cells] += 1
        return cells

    def release(self, cells: Tokens) -> None:
        """One holder less; cells that nobody holds are free again."""
        self._holders[cells] -= 1
        freed = cells[self._holders[cells] == 0]
        self._stack[self.free : self.free + len(freed)] = freed
        self.free += len(freed)

    def distinct(self, groups: Iterable[Tokens]) -> int:
        """How many different cells the groups hold together."""
        held = np.zeros(self.count, bool)
        for cells in groups:
            held[cells] = True
        return int(held.sum())
