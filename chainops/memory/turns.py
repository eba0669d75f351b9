"""Old turns of a conversation in an index: moved there when they leave the prompt, recalled when they matter."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chainops.memory.place import ROOT, Door, label
from chainops.memory.relevance import relevance, vectors_of

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore

    from chainops.embedding import Embedder

__all__ = ["Turns"]

MOST_KNOWN = 20_000


class Turns:
    """Turns by conversation, in a store of LangGraph. They fall under ``Memories.erase`` of their user.

    Args:
        store: where they are kept.
        embedder: finds by meaning; None: by words.
        max_turns: of one conversation; the oldest go first.
        max_chars: of one turn; what is longer is cut at its end.
        likeness: cosine from which on a turn fits by its meaning.
    """

    def __init__(
        self,
        store: BaseStore,
        *,
        embedder: Embedder | None = None,
        max_turns: int = 1000,
        max_chars: int = 8000,
        likeness: float = 0.3,
    ) -> None:
        self.store, self._door = store, Door(store)
        self.embedder, self.likeness = embedder, likeness
        self.max_turns, self.max_chars = max_turns, max_chars
        self._known: OrderedDict[tuple[tuple[str, ...], str], None] = OrderedDict()  # that are in the store already
        self._lock = threading.Lock()

    async def add(self, thread: str, turns: Sequence[tuple[int, str]], *, user: str = "", tenant: str = "") -> None:
        """Move turns into the index, each with its number in the conversation; those that are there stay."""
        space = self._space(thread, user, tenant)
        new: list[tuple[str, int, str]] = []
        for number, whole in turns:
            text = whole[: self.max_chars]
            key = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
            if (space, key) not in self._known and await self._door.get(space, key) is None:
                new.append((key, number, text))
            self._know(space, key)
        vectors = await vectors_of([text for _, _, text in new], self.embedder)
        for (key, number, text), vector in zip(new, vectors, strict=True):
            await self._door.put(space, key, {"turn": text, "number": number, "vector": vector}, ["turn"])
        if new:
            await self._shrink(space)

    async def find(
        self, thread: str, query: str, *, user: str = "", tenant: str = "", limit: int = 4
    ) -> list[tuple[int, str, float]]:
        """At most ``limit`` turns that ``query`` has to do with: number, text, score; the best first."""
        space = self._space(thread, user, tenant)
        items = await self._door.search(space, query=query or None, limit=self.max_turns)
        scores = await relevance(query, items, field="turn", embedder=self.embedder, likeness=self.likeness)
        order = sorted(range(len(items)), key=lambda i: (-scores[i], items[i].key))
        return [
            (int(items[i].value.get("number", 0)), str(items[i].value["turn"]), scores[i])
            for i in order[:limit]
            if scores[i] > 0
        ]

    async def forget(self, thread: str, *, user: str = "", tenant: str = "") -> int:
        """Remove all turns of a conversation; how many there were."""
        space = self._space(thread, user, tenant)
        with self._lock:
            for known in [k for k in self._known if k[0] == space]:
                del self._known[known]
        return await self._door.empty(space)

    def _know(self, space: tuple[str, ...], key: str) -> None:
        with self._lock:
            self._known[space, key] = None
            if len(self._known) > MOST_KNOWN:
                self._known.popitem(last=False)

    def _space(self, thread: str, user: str, tenant: str) -> tuple[str, ...]:
        return ROOT, "turns", label(tenant, user), label(thread)

    async def _shrink(self, space: tuple[str, ...]) -> None:
        items = [item async for item in self._door.all(space)]
        items.sort(key=lambda item: int(item.value.get("number", 0)))
        for item in items[: max(len(items) - self.max_turns, 0)]:
            await self._door.delete(space, item.key)
