"""The stores of ``Cache`` behind LangChain's and LangGraph's own cache interfaces, for code that uses those.

They bring what they can: no pickle, tags, several processes. What a key consists of is LangChain's and LangGraph's
choice there, with all that follows from it; the middleware is the better way.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.caches import RETURN_VAL_TYPE
from langchain_core.caches import BaseCache as LangChainBase
from langgraph.cache.base import BaseCache as LangGraphBase
from langgraph.cache.base import FullKey, Namespace
from langgraph.checkpoint.serde.base import SerializerProtocol

from chainops.store.cache import Entry, Tiers, Unfaithful, copy_value, open_tiers
from chainops.store.cache.cut import cut_reason

__all__ = ["GraphCache", "ModelCache"]

log = logging.getLogger("chainops")


def _digest(*parts: Any) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


class ModelCache(LangChainBase):
    """LangChain's cache of model answers (``set_llm_cache``, ``model.cache``). Use one for each tenant.

    Answers that were cut, and those that would not come back as they were, are not kept.

    Args:
        directory: shared by all processes that use it; None: in this process only.
        tenant: part of every key.
        ttl_s: seconds an answer is served; None: for ever.
    """

    def __init__(
        self, directory: str | Path | None = None, *, tenant: str | None = None, ttl_s: float | None = None
    ) -> None:
        self.tiers: Tiers = open_tiers(directory, early=0)
        self.tenant, self.ttl_s = tenant, ttl_s
        self._tag = f"langchain:{_digest(tenant)}"

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """The answer to the same prompt by the same model, or None."""
        entry = self.tiers.get(self._key(prompt, llm_string))
        return None if entry is None else copy_value(entry.value)

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """Keep an answer."""
        if any(_is_cut(generation) for generation in return_val):
            return
        try:
            value = copy_value(list(return_val))
        except Unfaithful as error:
            log.debug("An answer is not cached: it holds a %s", error)
            return
        now = self.tiers.clock()
        entry = Entry(
            key=self._key(prompt, llm_string),
            kind="langchain",
            node="",
            value=value,
            created=now,
            expires=None if self.ttl_s is None else now + self.ttl_s,
            tags=("langchain", self._tag),
        )
        self.tiers.put(entry, self.tiers.generation())

    def clear(self, **kwargs: Any) -> None:
        """Forget all answers of this tenant."""
        self.tiers.flush()
        self.tiers.invalidate([self._tag])

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """As :meth:`lookup`: it takes less time than a hop to another thread."""
        return self.lookup(prompt, llm_string)

    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """As :meth:`update`: it is written behind."""
        self.update(prompt, llm_string, return_val)

    def close(self) -> None:
        """Store what waits, and close the files."""
        self.tiers.close()

    def _key(self, prompt: str, llm_string: str) -> str:
        return _digest("langchain", self.tenant, prompt, llm_string)


def _is_cut(generation: Any) -> bool:
    message = getattr(generation, "message", None)
    return bool(cut_reason(getattr(message, "response_metadata", None)) or cut_reason(generation.generation_info))


class GraphCache(LangGraphBase[Any]):
    """LangGraph's cache of node results (``compile(cache=...)``). Its hits go round all middleware.

    Args:
        directory: shared by all processes that use it; None: in this process only.
        serde: LangGraph's serializer; what it can only pickle is not kept.
    """

    def __init__(self, directory: str | Path | None = None, *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(serde=serde)
        self.tiers: Tiers = open_tiers(directory, early=0)

    def get(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """The values that are there."""
        found = {}
        for key in keys:
            entry = self.tiers.get(_digest("langgraph", *key))
            if entry is not None:
                found[key] = self.serde.loads_typed((entry.value["type"], entry.value["data"]))
        return found

    def set(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """Keep values, each for its number of seconds."""
        now, seen = self.tiers.clock(), self.tiers.generation()
        for (namespace, key), (value, ttl) in pairs.items():
            kind, data = self.serde.dumps_typed(value)
            if kind == "pickle":
                log.debug("A result is not cached: it can only be pickled")
                continue
            entry = Entry(
                key=_digest("langgraph", namespace, key),
                kind="langgraph",
                node="",
                value={"type": kind, "data": bytes(data)},
                created=now,
                expires=None if ttl is None else now + ttl,
                tags=("langgraph", _tag(namespace)),
            )
            self.tiers.put(entry, seen)

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget the values of some namespaces, or all."""
        self.tiers.flush()
        self.tiers.invalidate(["langgraph"] if namespaces is None else [_tag(name) for name in namespaces])

    async def aget(self, keys: Sequence[FullKey]) -> dict[FullKey, Any]:
        """As :meth:`get`: it takes less time than a hop to another thread."""
        return self.get(keys)

    async def aset(self, pairs: Mapping[FullKey, tuple[Any, int | None]]) -> None:
        """As :meth:`set`: it is written behind."""
        self.set(pairs)

    async def aclear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """As :meth:`clear`, in another thread."""
        import asyncio

        await asyncio.to_thread(self.clear, namespaces)

    def close(self) -> None:
        """Store what waits, and close the files."""
        self.tiers.close()


def _tag(namespace: Namespace) -> str:
    return f"langgraph:{_digest(namespace)}"
