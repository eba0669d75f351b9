"""Requests that wait for their turn."""

from __future__ import annotations

import heapq
import itertools
import time

from chainops.engines.llama.request import Request
from chainops.engines.llama.sequence import Sequence

__all__ = ["Waiting"]

PRUNE_SECONDS = 0.02


class Waiting:
    """A queue: the highest priority first, of equals the one that came first."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Request]] = []
        self._arrivals = itertools.count()
        self._prepared: Sequence | None = None
        self._pruned = 0.0

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, request: Request) -> None:
        """Queue a request."""
        heapq.heappush(self._heap, (-request.ask.priority, next(self._arrivals), request))

    @property
    def first(self) -> Request | None:
        """The one whose turn is next."""
        return self._heap[0][2] if self._heap else None

    @property
    def prepared(self) -> Sequence | None:
        """What was made of the first one when it did not fit."""
        sequence = self._prepared
        return sequence if sequence is not None and sequence.request is self.first else None

    @prepared.setter
    def prepared(self, sequence: Sequence) -> None:
        self._prepared = sequence

    def pop(self) -> None:
        """Take the first one out."""
        heapq.heappop(self._heap)
        self._prepared = None

    def prune(self) -> list[Request]:
        """Take out those that are over. Looks at most every 20 milliseconds."""
        now = time.monotonic()
        if not self._heap or now - self._pruned < PRUNE_SECONDS:
            return []
        self._pruned = now
        over = [entry for entry in self._heap if entry[2].is_over]
        if over:
            numbers = {entry[1] for entry in over}
            self._heap = [entry for entry in self._heap if entry[1] not in numbers]
            heapq.heapify(self._heap)
        return [request for _, _, request in over]

    def take_all(self) -> list[Request]:
        """Empty the queue, in its order."""
        requests = [request for _, _, request in sorted(self._heap, key=lambda entry: entry[:2])]
        self._heap.clear()
        return requests
