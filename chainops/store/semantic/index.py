"""The nearest of many vectors: signs first, packed into bits, then the real cosine of the best.

The number of differing signs of two vectors grows with the angle between them (Charikar, STOC 2002), and counting
them takes one XOR and one population count per 64 dimensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["VectorIndex"]

EXACT = 512
"""Up to so many vectors all cosines are computed."""

SHORTLIST = 128
"""So many of those with the fewest differing signs are looked at closely, at least."""


class VectorIndex:
    """Vectors of length 1 under numbers. Not for two threads at once.

    Needs 0.8 KB per vector of 384 dimensions: 16-bit floats and one bit per dimension.

    Args:
        dimensions: numbers in a vector.
    """

    def __init__(self, dimensions: int) -> None:
        import numpy as np

        self.dimensions = dimensions
        self._words = (dimensions + 63) // 64
        self._count = 0
        self._bits: NDArray[np.uint64] = np.zeros((self._words, 64), np.uint64)
        self._half: NDArray[np.float16] = np.zeros((64, dimensions), np.float16)
        self._ids: NDArray[np.int64] = np.zeros(64, np.int64)
        self._places: dict[int, int] = {}

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        return number in self._places

    def add(self, number: int, vector: Any) -> None:
        """Put a vector under ``number``; in place of the one that is there."""
        import numpy as np

        self.add_many([number], np.asarray(vector)[None])

    def add_many(self, numbers: Any, vectors: Any) -> None:
        """Put many vectors, shape ``(len(numbers), dimensions)``."""
        import numpy as np

        vectors = np.asarray(vectors)
        for number in [number for number in numbers if number in self._places]:
            self.remove(number)
        begin, end = self._count, self._count + len(numbers)
        self._grow(end)
        self._half[begin:end] = vectors
        self._bits[:, begin:end] = self._signs(vectors)
        self._ids[begin:end] = numbers
        self._places.update(zip(numbers, range(begin, end), strict=True))
        self._count = end

    def remove(self, number: int) -> bool:
        """Forget the vector under ``number``; False where there is none. The last one takes its place."""
        place = self._places.pop(number, None)
        if place is None:
            return False
        last = self._count - 1
        if place != last:
            self._half[place], self._bits[:, place] = self._half[last], self._bits[:, last]
            self._ids[place] = self._ids[last]
            self._places[int(self._ids[last])] = place
        self._count = last
        return True

    def search(self, vector: Any, k: int = 10) -> list[tuple[int, float]]:
        """Numbers and cosines of the ``k`` nearest, the nearest first; exact up to 512 vectors, else very nearly."""
        import numpy as np

        count = self._count
        if not count:
            return []
        wanted = np.asarray(vector, np.float32)
        places: Any = slice(0, count)
        if count > EXACT:
            places = self._shortlist(wanted, max(SHORTLIST, 4 * k))
        cosines = self._half[places].astype(np.float32) @ wanted
        best = np.argsort(-cosines, kind="stable")[:k]
        numbers = self._ids[places][best]
        return [(int(n), float(c)) for n, c in zip(numbers, cosines[best], strict=True)]

    def _shortlist(self, vector: NDArray[np.float32], size: int) -> NDArray[np.intp]:
        import numpy as np

        signs = self._signs(vector[None])[:, 0]
        differing = np.zeros(self._count, np.uint16)
        for word in range(self._words):
            differing += np.bitwise_count(self._bits[word, : self._count] ^ signs[word])
        # the border, from a count of each number of signs: cheaper than partitioning a million numbers
        border = int(np.searchsorted(np.cumsum(np.bincount(differing)), min(size, self._count)))
        places: NDArray[np.intp] = np.flatnonzero(differing <= border)
        return places[: 4 * size] if len(places) > 4 * size else places

    def _signs(self, vectors: Any) -> NDArray[np.uint64]:
        """Shape ``(words, len(vectors))``."""
        import numpy as np

        packed = np.packbits(np.asarray(vectors) > 0, axis=1)
        wide = np.zeros((len(packed), self._words * 8), np.uint8)
        wide[:, : packed.shape[1]] = packed
        return np.ascontiguousarray(wide.view(np.uint64).T)

    def _grow(self, needed: int) -> None:
        import numpy as np

        room = len(self._ids)
        if needed <= room:
            return
        wanted = max(needed, room * 2)
        bits = np.zeros((self._words, wanted), np.uint64)
        half = np.zeros((wanted, self.dimensions), np.float16)
        ids = np.zeros(wanted, np.int64)
        bits[:, : self._count] = self._bits[:, : self._count]
        half[: self._count] = self._half[: self._count]
        ids[: self._count] = self._ids[: self._count]
        self._bits, self._half, self._ids = bits, half, ids
