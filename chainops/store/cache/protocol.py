"""What a store of cached answers must do, so that another one (Redis, Postgres) can stand in for the files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["EVERYTHING", "CacheStore", "Entry", "Pending", "Tally"]

EVERYTHING = "*"
"""The tag that every entry has."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """One cached answer. ``value`` belongs to the cache: hand out copies.

    Args:
        key: 32 hexadecimal digits.
        kind: of the call.
        node: path of the node.
        value: of the types in ``codec``.
        created, expires, stale_until: seconds since 1970; ``expires`` None: never. Between ``expires`` and
            ``stale_until`` it may be served while somebody makes a new one.
        ms: how long the call took. tokens: in and out. micro: its cost in millionths of the currency.
        tags: by which it is invalidated.
        parts: what the key was made of; shortened when the entry is written.
    """

    key: str
    kind: str
    node: str
    value: Any = field(repr=False)
    created: float
    expires: float | None = None
    stale_until: float | None = None
    ms: float = 0.0
    tokens: int = 0
    micro: int = 0
    tags: tuple[str, ...] = ()
    parts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def gone(self) -> float | None:
        """When nobody gets it any more; None: never."""
        return self.expires if self.stale_until is None else self.stale_until


@dataclass(frozen=True, slots=True)
class Pending:
    """An entry on its way into a store. ``seen``: the generation of the store when its call began."""

    key: str
    data: bytes
    gone: float | None
    tags: tuple[str, ...]
    seen: int


Tally = Mapping[tuple[int, str, str], float]
"""Counts to add, by hour since 1970, kind of call, and what is counted."""


class CacheStore(Protocol):
    """Bytes by key, with tags. For all threads. Everything may block but ``generation``; ``get`` only shortly.

    **Invalidation is never lost**: an entry whose call began before one of its tags was invalidated is not written
    afterwards (``Pending.seen``), and ``generation()`` of every process has changed when ``invalidate`` returns.
    """

    shared: bool
    """Whether other processes use it too."""

    def generation(self) -> int:
        """A number that grows with every invalidation by any process. Costs less than a microsecond."""

    def get(self, key: str) -> bytes | None:
        """What is stored, unless it is gone.

        Raises:
            StoreError: code ``cache.unsafe``: it is nothing that this store wrote.
        """

    def write(self, batch: Sequence[Pending]) -> int:
        """Store what no invalidation has overtaken, in one transaction; how many that were."""

    def invalidate(self, tags: Iterable[str]) -> int:
        """Forget every entry that has one of ``tags``, in one statement; how many there were."""

    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys that begin with ``prefix``, gone entries left out."""

    def lease(self, key: str, owner: str, seconds: float) -> bool:
        """True when ``owner`` may make the entry now and nobody else is making it."""

    def renew(self, owner: str, seconds: float) -> None:
        """Keep all leases of ``owner``."""

    def release(self, key: str, owner: str) -> None:
        """Give a lease back."""

    def count(self, tally: Tally) -> None:
        """Add to the counters."""

    def counted(self) -> dict[tuple[int, str, str], float]:
        """All counters."""

    def note(self, key: str, data: bytes) -> None:
        """Remember why a call was not answered from here; the last thousand are kept."""

    def noted(self, prefix: str) -> list[tuple[str, bytes]]:
        """What was noted under keys with this prefix, newest first."""

    def size(self) -> tuple[int, int]:
        """Entries and bytes."""

    def close(self) -> None:
        """Let go of files."""
