"""What of a question is said already, while sentences are chosen one after another."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterator, Sequence

__all__ = ["Cover", "by_worth"]

COVERED = 0.5
"""What a unit loses when all that it says of the question is said already."""


class Cover:
    """Which words of the question are said already: what only says them again is worth half of what it was.

    The part of maximal marginal relevance that looks at the question; ``REDUNDANT`` is the part that looks at the text.
    """

    def __init__(self, asked: Sequence[str], words: Sequence[Sequence[str]]) -> None:
        wanted = set(asked)
        self.open = [wanted.intersection(unit) for unit in words]
        spread = Counter(word for unit in self.open for word in unit)
        self.weight = {word: math.log(1 + len(words) / times) for word, times in spread.items()}
        self.whole = [self._sum(unit) for unit in self.open]
        self.said: set[str] = set()

    def share(self, place: int) -> float:
        """1 where nothing of it is said yet, half where everything is."""
        whole = self.whole[place]
        return 1.0 - COVERED * self._sum(self.open[place] & self.said) / whole if whole else 1.0

    def say(self, place: int) -> None:
        """The unit is kept."""
        self.said |= self.open[place]

    def _sum(self, words: set[str]) -> float:
        return sum(self.weight[word] for word in sorted(words))


def by_worth(worth: Sequence[float], cover: Cover) -> Iterator[int]:
    """Places from the most worth to the least, given what was said in between; of equals the earlier one."""
    heap = [(-value, place) for place, value in enumerate(worth)]
    heapq.heapify(heap)
    while heap:
        value, place = heapq.heappop(heap)
        now = -worth[place] * cover.share(place)
        if heap and now > heap[0][0] and now > value:  # worth only falls: look again when it is the best again
            heapq.heappush(heap, (now, place))
        else:
            yield place
