"""Every repetition is kept: the report shows the quartiles, a script's own text the median."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any


def medians(found: Any) -> Any:
    """The same, with lists of numbers replaced by their medians."""
    if isinstance(found, dict):
        return {name: medians(value) for name, value in found.items()}
    if isinstance(found, list) and found and all(isinstance(value, int | float) for value in found):
        return statistics.median(found)
    return found


def ratios(sides: Sequence[float], others: Sequence[float]) -> list[float]:
    """Side by side of the same repetition."""
    return [one / other for one, other in zip(sides, others, strict=True)]


class Spent:
    """``with Spent() as spent:`` -> wall and CPU seconds of the process, its threads included."""

    wall = cpu = 0.0

    def __enter__(self) -> Spent:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
