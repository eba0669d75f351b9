"""Where memories stand in a store: namespaces that no two owners share, and stores that are only synchronous."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore

__all__ = ["ROOT", "Door", "label"]

ROOT = "chainops"
PAGE = 500


def label(*parts: str) -> str:
    """One label of a namespace for ``parts``: others for other parts, whatever signs are in them."""
    return "~" + "~".join(quote(part, safe="").replace(".", "%2E").replace("~", "%7E") for part in parts)


class Door:
    """A store from the event loop: one that is only synchronous (``SqliteStore``) is asked in a thread."""

    def __init__(self, store: BaseStore) -> None:
        self.store = store

    async def get(self, namespace: tuple[str, ...], key: str) -> Mapping[str, Any] | None:
        """The value of an item, or None."""
        item = await self._do("get", namespace, key)
        return None if item is None else item.value

    async def put(self, namespace: tuple[str, ...], key: str, value: dict[str, Any], index: Sequence[str]) -> None:
        """Write an item; ``index``: the fields that an index of the store itself is made of."""
        await self._do("put", namespace, key, value, list(index) or False)

    async def delete(self, namespace: tuple[str, ...], key: str) -> None:
        """Remove an item."""
        await self._do("delete", namespace, key)

    async def search(self, prefix: tuple[str, ...], *, query: str | None = None, limit: int = PAGE) -> list[Any]:
        """At most ``limit`` items below ``prefix``; ordered by ``query`` where the store has an index."""
        return list(await self._do("search", prefix, query=query, limit=limit))

    async def all(self, prefix: tuple[str, ...]) -> AsyncIterator[Any]:
        """Every item below ``prefix``."""
        offset = 0
        while found := list(await self._do("search", prefix, limit=PAGE, offset=offset)):
            for item in found:
                yield item
            offset += len(found)

    async def empty(self, prefix: tuple[str, ...]) -> int:
        """Remove every item below ``prefix``; how many there were."""
        gone = [(item.namespace, item.key) async for item in self.all(prefix)]
        for namespace, key in gone:
            await self.delete(tuple(namespace), key)
        return len(gone)

    async def _do(self, what: str, *args: Any, **options: Any) -> Any:
        try:
            return await getattr(self.store, f"a{what}")(*args, **options)
        except NotImplementedError:
            return await asyncio.to_thread(getattr(self.store, what), *args, **options)
