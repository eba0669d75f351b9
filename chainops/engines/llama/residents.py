"""What is in the context, and what was there: who shares a prefix with whom, and room for everybody.

Running sequences share a common prefix: it is computed once. In unified cells, finished ones are moved to ordinary
memory, because every token of every step would pay for them, even where it looks at none of them; moving 400 tokens
there and back costs about a 300th of computing them. Where each sequence has cells of its own, they rest where they are
until somebody needs the place.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainops.engines.llama.batch import Tokens
from chainops.engines.llama.cells import Cells
from chainops.engines.llama.kept import LEAST_KEPT, KeptPrefixes
from chainops.engines.llama.native import Native
from chainops.engines.llama.prefixes import PrefixTree
from chainops.engines.llama.sequence import Sequence

__all__ = ["Residents"]


@dataclass(frozen=True, slots=True, eq=False)
class Resting:
    """A finished sequence that still has its place."""

    id: int
    adapters: Hashable
    tokens: Tokens


class Residents:
    """Places sequences into the context so that it never overflows.

    Args:
        native: the context.
    """

    def __init__(self, native: Native) -> None:
        self.running: list[Sequence] = []
        self.resting: dict[Resting, None] = {}  # those that ended first are first
        self.kept = KeptPrefixes(native.options.n_kept)
        self.cells = Cells(native.n_cells)
        self.free_ids = list(range(native.options.n_parallel))
        self._prompts: PrefixTree[Sequence] = PrefixTree()
        self._rests: PrefixTree[Resting] = PrefixTree()
        self._native = native

    def place(self, sequence: Sequence) -> bool:
        """Let ``sequence`` run, on top of the longest prefix that is there or coming. False: no room now."""
        leader, shared = self._leader(sequence)
        together = shared if self._native.options.unified else 0  # cells that need not be taken again
        if sequence.capacity - together > self.cells.free:
            return False
        if (ready := self._wake(sequence, at_least=shared) or self._restore(sequence, more_than=shared)) > 0:
            leader, shared, together = None, ready, 0
            sequence.n_past = ready
        elif sequence.id < 0:
            sequence.id = self._free_id()
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
        """Take ``sequence`` out; what it computed is kept, here or in memory.

        Args:
            keep: false after a failed decode: nobody knows how far it came.
        """
        self.running.remove(sequence)
        self._prompts.remove(sequence)
        self.trim(sequence)
        self._bequeath(sequence, usable=keep)
        self.cells.release(sequence.cells)
        if keep and self._rest(sequence):
            return
        if keep:
            self._keep(sequence.id, sequence.adapted.key, sequence.tokens[: sequence.n_past], pin=sequence.pinned)
        self._vacate(sequence.id)

    def settle(self) -> KeptPrefixes:
        """Move everything that rests to memory, and return what is kept there."""
        for resting in list(self.resting):
            self._evict(resting)
        return self.kept

    def trim(self, sequence: Sequence) -> None:
        """Take out what was computed of wrong drafts."""
        if sequence.computed > sequence.n_past:
            self._native.remove(sequence.id, sequence.n_past)
        sequence.computed = 0

    def reset(self) -> None:
        """Forget everything that is in the context, after a decode that left it in an unknown state."""
        self._native.clear()
        self.running.clear()
        self.resting.clear()
        self._prompts.clear()
        self._rests.clear()
        self.cells = Cells(self._native.n_cells)
        self.free_ids = list(range(self._native.options.n_parallel))

    def _free_id(self) -> int:
        """A place beside those that run, because only rows of neighbours are computed together where cells are apart.

        Whoever rests there goes to memory, which costs less than a step in two pieces.
        """
        taken = {sequence.id for sequence in self.running}
        resting = {other.id: other for other in reversed(self.resting)}

        def gaps(place: int) -> tuple[int, bool, bool, int]:
            below, above = place - 1 in taken, place + 1 in taken
            return 2 - below - above, not below, place in resting, place  # those that end first lie lowest

        best = min([*self.free_ids, *resting], key=gaps)
        if best in resting:
            self._evict(resting[best])
        self.free_ids.remove(best)
        return best

    def _vacate(self, number: int) -> None:
        self._native.remove(number, 0)
        self.free_ids.append(number)

    def _rest(self, sequence: Sequence) -> bool:
        """Let a finished sequence stay where it is, if that is worth while."""
        options, tokens = self._native.options, sequence.tokens[: sequence.n_past]
        if options.unified or not options.n_kept or sequence.pinned or not self._native.can_share:
            return False
        if len(tokens) < LEAST_KEPT or self._rests.longest(sequence.adapted.key, tokens)[0] == len(tokens):
            return False
        resting = Resting(sequence.id, sequence.adapted.key, tokens.copy())
        self.resting[resting] = None
        self._rests.add(resting.adapters, resting.tokens, resting)
        return True

    def _wake(self, sequence: Sequence, *, at_least: int) -> int:
        """Go on where a finished sequence rests, if none has more; returns how many tokens are there, or 0."""
        size, holders = self._rests.longest(sequence.adapted.key, sequence.prompt[:-1])
        best = min(holders, key=lambda resting: len(resting.tokens), default=None)
        if best is None or size < max(LEAST_KEPT, at_least):
            return 0
        if size < self.kept.longest(sequence.adapted.key, sequence.prompt[:-1]):
            return 0
        if 2 * size < len(best.tokens):  # more of it would be lost than used
            if self.free_ids or len(self.resting) > 1:
                return self._wake_copy(sequence, best, size)
            self._keep(best.id, best.adapters, best.tokens)
        self._forget(best)
        sequence.id = best.id
        if self._native.remove(sequence.id, size):
            return size
        return 0

    def _wake_copy(self, sequence: Sequence, best: Resting, size: int) -> int:
        """Go on from a copy of the beginning of ``best``."""
        state = self._native.state(best.id)
        sequence.id = self._free_id()
        if self._native.restore(sequence.id, state) and self._native.remove(sequence.id, size):
            return size
        self._native.remove(sequence.id, 0)
        return 0

    def _evict(self, resting: Resting) -> None:
        """It goes to memory, its place is free."""
        self._forget(resting)
        self._keep(resting.id, resting.adapters, resting.tokens)
        self._vacate(resting.id)

    def _forget(self, resting: Resting) -> None:
        del self.resting[resting]
        self._rests.remove(resting)

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
        if sequence.id < 0:
            sequence.id = self._free_id()
        if not self._native.restore(sequence.id, best.state) or not self._native.remove(sequence.id, longest):
            self._native.remove(sequence.id, 0)
            return 0
        return longest

    def _keep(self, number: int, adapters: Hashable, tokens: Tokens, *, pin: bool = False) -> None:
        """Keep a copy of the sequence with this number in memory."""
        if self._native.can_share and (pin or self.kept.wants(adapters, tokens)):
            self.kept.add(adapters, tokens.copy(), self._native.state(number), pinned=pin)

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
