"""What is in the context, and what was there: who shares a prefix with whom, and room for everybody.

Running sequences share a common prefix: it is computed once. Finished ones are moved to ordinary memory: in unified
cells, every token of every step would pay for them, even where it looks at none of them. Moving 400 tokens there and
back costs about a 300th of computing them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainops.engines.llama.cells import Cells
from chainops.engines.llama.kept import LEAST_KEPT, KeptPrefixes
from chainops.engines.llama.native import Native
from chainops.engines.llama.prefixes import PrefixTree
from chainops.engines.llama.sequence import Sequence

__all__ = ["Residents"]


class Residents:
    """Places sequences into the context so that it never overflows.

    Args:
        native: the context.
    """

    def __init__(self, native: Native) -> None:
        self.running: list[Sequence] = []
        self.kept = KeptPrefixes(native.options.n_kept)
        self.cells = Cells(native.n_cells)
        self.free_ids = list(range(native.options.n_parallel))
        self._prompts: PrefixTree[Sequence] = PrefixTree()
        self._native = native

    def place(self, sequence: Sequence) -> bool:
        """Let ``sequence`` run, on top of the longest prefix that is there or coming. False: no room now."""
        leader, shared = self._leader(sequence)
        together = shared if self._native.options.unified else 0  # cells that need not be taken again
        if sequence.capacity - together > self.cells.free:
            return False
        sequence.id = min(self.free_ids)  # rows of neighbouring sequences are computed together where cells are apart
        self.free_ids.remove(sequence.id)
        if (restored := self._restore(sequence, more_than=shared)) > shared:
            leader, shared, together = None, restored, 0
            sequence.n_past = restored
        rest = self.cells.take(sequence.capacity - (together if leader else 0))
        if leader is not None and together:
            rest = np.concatenate((self.cells.share(leader.cells[:together]), rest))
        sequence.cells, sequence.leader, sequence.shared = rest, leader, shared
        self.running.append(sequence)
        self._prompts.add(sequence.adapted.key, sequence.prompt, sequence)
        self.follow()
        return True

    def follow(self) -> None:
        """Give every sequence that waits for a common prefix its copy, as soon as the prefix is computed."""
        states: dict[int, Any] = {}
        for sequence in self.running:
            leader = sequence.leader
            if leader is not None and leader.n_past >= sequence.shared:
                self._copy(leader, sequence, sequence.shared, states)
                sequence.leader = None

    def retire(self, sequence: Sequence, *, keep: bool = True) -> None:
        """Take ``sequence`` out; what it computed is kept in memory.

        Args:
            keep: false after a failed decode: nobody knows how far it came.
        """
        self.running.remove(sequence)
        self._prompts.remove(sequence)
        self.trim(sequence)
        self._bequeath(sequence, usable=keep)
        if keep:
            self._keep(sequence)
        self._native.remove(sequence.id, 0)
        self.cells.release(sequence.cells)
        self.free_ids.append(sequence.id)

    def trim(self, sequence: Sequence) -> None:
        """Take out what was computed of wrong drafts."""
        if sequence.computed > sequence.n_past:
            self._native.remove(sequence.id, sequence.n_past)
        sequence.computed = 0

    def reset(self) -> None:
        """Forget everything that is in the context, after a decode that left it in an unknown state."""
        self._native.clear()
        self.running.clear()
        self._prompts.clear()
        self.cells = Cells(self._native.n_cells)
        self.free_ids = list(range(self._native.options.n_parallel))

    def _leader(self, sequence: Sequence) -> tuple[Sequence | None, int]:
        """The running sequence that has, or will have, most of the prompt's beginning."""
        if not self._native.can_share:
            return None, 0
        wanted = sequence.prompt[:-1]  # the last token is computed in any case, for its logits
        size, holders = self._prompts.longest(sequence.adapted.key, wanted)
        if size < LEAST_KEPT:
            return None, 0
        return max(holders, key=lambda other: other.n_past), size

    def _copy(self, source: Sequence, target: Sequence, size: int, states: dict[int, Any]) -> None:
        """Let ``target`` begin with the first ``size`` computed tokens of ``source``.

        Args:
            states: of sequences that were read out already, by their numbers.
        """
        native = self._native
        if native.options.unified:
            native.share(source.id, target.id, size)
            target.n_past = size
        elif size:
            if source.id not in states:
                states[source.id] = native.state(source.id)
            done = native.restore(target.id, states[source.id]) and native.remove(target.id, size)
            target.n_past = size if done else 0
            if not done:
                native.remove(target.id, 0)
                target.shared = 0

    def _restore(self, sequence: Sequence, *, more_than: int) -> int:
        """Bring the longest kept prefix back if it is longer; returns how many tokens of it are there now."""
        best, longest = self.kept.find(sequence.adapted.key, sequence.prompt[:-1])
        if best is None or longest <= more_than or max(len(best.tokens), sequence.capacity) > self.cells.free:
            return 0
        if not self._native.restore(sequence.id, best.state) or not self._native.remove(sequence.id, longest):
            self._native.remove(sequence.id, 0)
            return 0
        return longest

    def _keep(self, sequence: Sequence) -> None:
        tokens, pin = sequence.tokens[: sequence.n_past], sequence.pinned
        if self._native.can_share and (pin or self.kept.wants(sequence.adapted.key, tokens)):
            self.kept.add(sequence.adapted.key, tokens.copy(), self._native.state(sequence.id), pinned=pin)

    def _bequeath(self, sequence: Sequence, *, usable: bool) -> None:
        """Those that waited for a prefix of ``sequence`` get what there is of it; one of them computes the rest."""
        heirs = [other for other in self.running if other.leader is sequence]
        if not heirs:
            return
        first = max(heirs, key=lambda other: other.shared)
        first.leader = sequence.leader
        if sequence.leader is not None:  # it had nothing yet: its heirs wait for the one that it waited for
            first.shared = min(first.shared, sequence.shared)
        else:
            first.shared = min(first.shared, sequence.n_past) if usable else 0
            self._copy(sequence, first, first.shared, {})
        for other in heirs:
            if other is not first:
                other.leader = first
