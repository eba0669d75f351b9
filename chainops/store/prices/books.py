"""The price books of a database: several, in an order; the first that knows a model says its price."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chainops.costing import Price, PriceBook
from chainops.errors import StoreError
from chainops.store.prices.seed import SNAPSHOT, snapshot
from chainops.store.registry import Registry, View

__all__ = ["KIND", "OWN", "PriceBooks", "Prices"]

KIND = "price_book"
"""The kind under which price books stand among the artifacts."""
OWN = "own"
"""The name of the book with prices of your own."""

MAX_KEPT = 10_000


class Prices:
    """What holds at one moment in several books; the first that knows a name wins. Never changes."""

    def __init__(self, books: Sequence[PriceBook]) -> None:
        self.books = tuple(books)
        self._timed = any("daily" in row for book in books for entry in book.models for row in entry["prices"])
        self._found: dict[Any, Price | None] = {}

    def find(
        self,
        names: Sequence[str],
        provider: str | None = None,
        *,
        at: datetime,
        context: Mapping[str, str] | None = None,
    ) -> Price | None:
        """The price of the model that goes by one of ``names``, the best name first; see ``PriceBook.find``."""
        # prices begin at a date, or at some hours of a day in whole minutes: within one minute nothing changes
        key = (tuple(names), provider, int(at.timestamp() // 60), tuple(sorted(context.items())) if context else ())
        if key not in self._found:
            if len(self._found) >= MAX_KEPT:
                self._found.clear()
            self._found[key] = self._look(names, provider, at, context)
        return self._found[key]

    def _look(
        self, names: Sequence[str], provider: str | None, at: datetime, context: Mapping[str, str] | None
    ) -> Price | None:
        for book in self.books:
            for name in names:
                found = book.find(name, provider, at=at, context=context)
                if found is not None:
                    return found
        return None


class PriceBooks:
    """Reads price books from a database, and looks for newer versions once a minute.

    A version holds from its ``effective_from``. A book called ``genai-prices`` that the database lacks is made from
    the package's snapshot.

    Args:
        path: the database. names: of the books, the one that counts first.
        clock: seconds since 1970, for tests.
    """

    def __init__(
        self,
        path: str | Path,
        names: Sequence[str] = (OWN, SNAPSHOT),
        *,
        max_age_s: float = 60.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path)
        self.names = tuple(names)
        self.max_age_s = max_age_s
        self.clock = clock
        self._registry = Registry(path, KIND, max_age_s=max_age_s)
        self._lock = threading.Lock()
        self._prices: Prices | None = None
        self._looked = float("-inf")
        self._parsed: dict[tuple[str, int, str], PriceBook] = {}

    def fresh(self) -> Prices | None:
        """What is known, where it was looked at within ``max_age_s``; else None, and :meth:`load` is due."""
        return self._prices if time.monotonic() - self._looked < self.max_age_s else None

    @property
    def known(self) -> Prices | None:
        """What was found last, however long ago; None before the first look."""
        return self._prices

    def load(self) -> Prices:
        """Look at the database. Blocks, the first time for a third of a second: not for the event loop.

        Raises:
            StoreError: it cannot be read, and never could; or not be written, and there is no book to read.
        """
        with self._lock:
            if (prices := self.fresh()) is not None:
                return prices
            began = time.monotonic()
            try:
                books = self._books(self._view())
                same = self._prices is not None and list(map(id, self._prices.books)) == list(map(id, books))
                if not same:
                    self._prices = Prices(books)
            finally:
                self._looked = began  # also after a failure: not every call shall try again
            assert self._prices is not None
            return self._prices

    def _view(self) -> View:
        try:
            view = self._registry.look(force=True)
        except StoreError as error:
            if error.code not in ("store.missing", "store.empty", "store.older"):
                raise
            view = View(KIND, {})
        if SNAPSHOT in self.names and SNAPSHOT not in view.entries:
            content = snapshot(datetime.fromtimestamp(self.clock(), UTC))
            self._registry.store.add(KIND, SNAPSHOT, content, author="chainops", message=content["source"])
            view = self._registry.look(force=True)
        return view

    def _books(self, view: View) -> list[PriceBook]:
        now = datetime.fromtimestamp(self.clock(), UTC)
        found = [book for name in self.names if (book := self._in_force(view, name, now)) is not None]
        used = {id(book) for book in found}
        self._parsed = {key: book for key, book in self._parsed.items() if id(book) in used}
        return found

    def _in_force(self, view: View, name: str, now: datetime) -> PriceBook | None:
        """The newest version that holds by now and is not retired."""
        entry = view.entries.get(name)
        for number in sorted(entry.versions, reverse=True) if entry is not None else ():
            assert entry is not None
            if number in entry.retired:
                continue
            version = entry.versions[number]
            key = (name, number, version.sha256)
            book = self._parsed.get(key)
            if book is None:
                book = self._parsed[key] = PriceBook(name, number, version.value())
            if book.effective_from <= now:
                return book
        return None
