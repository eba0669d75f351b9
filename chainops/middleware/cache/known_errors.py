"""Errors that would come again, raised for a moment without asking."""

from __future__ import annotations

import time
from collections import OrderedDict

from chainops.middleware.cache.policy import is_deterministic_error

__all__ = ["KnownErrors"]

MAX_ERRORS = 1000


class KnownErrors:
    """The last thousand, each for ``seconds``. In memory only: an exception is an object of its process.

    ``types``: those that count beside ``CallError``.
    """

    def __init__(self, seconds: float, types: tuple[type[Exception], ...]) -> None:
        self.seconds, self.types = seconds, types
        self._known: OrderedDict[str, tuple[float, Exception]] = OrderedDict()

    def get(self, flight: str) -> Exception | None:
        """The error under which equal calls failed a moment ago."""
        until, error = self._known.get(flight, (0.0, None))
        if error is not None and time.monotonic() >= until:
            self._known.pop(flight, None)
            return None
        return error

    def put(self, flight: str, error: Exception) -> None:
        """Remember ``error``, if the same call would fail in the same way a second later."""
        if self.seconds and is_deterministic_error(error, self.types):
            self._known[flight] = time.monotonic() + self.seconds, error
            if len(self._known) > MAX_ERRORS:
                self._known.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()
