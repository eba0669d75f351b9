"""Facts about a person that outlive a session: only with consent, found by meaning, few, and gone when erased."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chainops.errors import Blocked, SetupError
from chainops.lexical.words import same_key
from chainops.memory.place import ROOT, Door, label
from chainops.memory.relevance import relevance, vectors_of

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore

    from chainops.embedding import Embedder

__all__ = ["Fact", "Memories", "NoConsent"]


class NoConsent(Blocked):
    """Somebody who has not consented was to be remembered. Nothing was written."""

    default_code = "memory.consent"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that is remembered.

    Args:
        key: by which it can be forgotten.
        text: what.
        at: when it was last said, ISO 8601 in UTC.
        source: where it was said, for example the id of a run; "" where nobody told.
        score: how well it fits what was asked, 0 to 1; 0 in lists.
    """

    key: str
    text: str
    at: str
    source: str = ""
    score: float = 0.0


class Memories:
    """Facts by user, in a store of LangGraph (``InMemoryStore``, ``SqliteStore``, ``PostgresStore`` ...).

    Users of different tenants are different users. Nothing is written or read of a user without consent.

    Args:
        store: where they are kept; its own index is used where it has one.
        embedder: finds by meaning in stores without an index; None: by words.
        max_facts: of one user; the ones that were not said for the longest time go first.
        max_chars: of one fact; a longer one is refused.
        likeness: cosine from which on a fact fits by its meaning.
        clock: the time now.
    """

    def __init__(
        self,
        store: BaseStore,
        *,
        embedder: Embedder | None = None,
        max_facts: int = 200,
        max_chars: int = 500,
        likeness: float = 0.25,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if max_facts < 1 or max_chars < 1:
            raise SetupError(
                f"Memory of {max_facts} facts of {max_chars} characters", hint="Both from 1.", code="setup.memory"
            )
        self._door = Door(store)
        self.embedder, self.likeness, self.clock = embedder, likeness, clock
        self.max_facts, self.max_chars = max_facts, max_chars

    async def consent(self, user: str, *, tenant: str = "", granted: bool = True) -> None:
        """Write down that ``user`` agrees to be remembered, or no longer does: then all facts are erased."""
        if not granted:
            await self.erase(user, tenant=tenant)
        value = {"granted": granted, "at": self.clock().isoformat()}
        await self._door.put((ROOT, "consent"), label(tenant, user), value, [])

    async def consented(self, user: str, *, tenant: str = "") -> bool:
        """Whether ``user`` agreed."""
        return bool((await self._door.get((ROOT, "consent"), label(tenant, user)) or {}).get("granted"))

    async def remember(self, user: str, text: str, *, tenant: str = "", source: str = "") -> Fact:
        """Keep ``text``. The same words again are the same fact, said anew.

        Raises:
            NoConsent: the user has not agreed.
            CallError: code ``memory.size``: the text is empty or too long.
        """
        text = " ".join(text.split())
        if not await self.consented(user, tenant=tenant):
            raise NoConsent(f"User {user!r} has not agreed to be remembered", hint="await memories.consent(user)")
        if not 0 < len(text) <= self.max_chars:
            raise Blocked(f"A fact of {len(text)} characters", hint=f"Give 1 to {self.max_chars}.", code="memory.size")
        key = hashlib.sha256("\0".join(same_key(text) or (text,)).encode()).hexdigest()[:32]
        fact = Fact(key, text, self.clock().isoformat(), source)
        [vector] = await vectors_of([text], self.embedder)
        value = {"fact": text, "at": fact.at, "source": source, "vector": vector}
        space = self._space(user, tenant)
        await self._door.put(space, key, value, ["fact"])
        await self._shrink(space)
        return fact

    async def recall(self, user: str, query: str, *, tenant: str = "", limit: int = 5) -> list[Fact]:
        """The facts that ``query`` has to do with, the best first; none without consent."""
        if not await self.consented(user, tenant=tenant):
            return []
        items = await self._door.search(self._space(user, tenant), query=query or None, limit=self.max_facts)
        scores = await relevance(query, items, field="fact", embedder=self.embedder, likeness=self.likeness)
        order = sorted(range(len(items)), key=lambda i: (-scores[i], items[i].key))
        return [_fact(items[i], scores[i]) for i in order[:limit] if scores[i] > 0]

    async def facts(self, user: str, *, tenant: str = "") -> list[Fact]:
        """Everything that is remembered of ``user``, the newest first: what a person may ask to see."""
        items = [item async for item in self._door.all(self._space(user, tenant))]
        return sorted((_fact(item, 0.0) for item in items), key=lambda fact: fact.at, reverse=True)

    async def forget(self, user: str, key: str, *, tenant: str = "") -> bool:
        """Remove one fact; whether there was one."""
        space = self._space(user, tenant)
        there = await self._door.get(space, key) is not None
        if there:
            await self._door.delete(space, key)
        return there

    async def erase(self, user: str, *, tenant: str = "") -> int:
        """Remove all facts and all old turns of ``user``, and the consent; how many items there were."""
        owner = label(tenant, user)
        gone = await self._door.empty(self._space(user, tenant))
        gone += await self._door.empty((ROOT, "turns", owner))
        if await self._door.get((ROOT, "consent"), owner) is not None:
            await self._door.delete((ROOT, "consent"), owner)
        return gone

    def _space(self, user: str, tenant: str) -> tuple[str, ...]:
        return ROOT, "facts", label(tenant, user)

    async def _shrink(self, space: tuple[str, ...]) -> None:
        items = [item async for item in self._door.all(space)]
        items.sort(key=lambda item: str(item.value.get("at", "")))
        for item in items[: max(len(items) - self.max_facts, 0)]:
            await self._door.delete(space, item.key)


def _fact(item: Any, score: float) -> Fact:
    value = item.value
    return Fact(
        item.key, str(value.get("fact", "")), str(value.get("at", "")), str(value.get("source", "")), round(score, 3)
    )
