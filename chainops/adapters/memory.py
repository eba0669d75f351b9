"""Memory inside a graph: the store that it was compiled with, and tools by which a model remembers and forgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, tool
from langgraph._internal._constants import CONF, CONFIG_KEY_RUNTIME
from langgraph.store.base import BaseStore

from chainops.calls import Call
from chainops.errors import Blocked
from chainops.memory import Memories

__all__ = ["graph_store", "memory_tools"]


def graph_store(call: Call) -> BaseStore | None:
    """The store that the running graph was compiled with (``compile(store=...)``), or None."""
    above: Call | None = call
    while above is not None:
        store = _of(above.config)
        if store is not None:
            return store
        above = above.parent
    return None


def memory_tools(memories: Memories, *, user_key: str = "user", tenant_key: str = "tenant") -> list[BaseTool]:
    """``remember_fact`` and ``forget_fact`` for the user of the run, whom the model cannot choose."""

    def who(config: RunnableConfig) -> tuple[str | None, str]:
        said = config.get("metadata") or {}
        user = said.get(user_key)
        return None if user is None else str(user), str(said.get(tenant_key, ""))

    @tool
    async def remember_fact(fact: str, config: RunnableConfig) -> str:
        """Remember a lasting fact about the person for later conversations. fact: one short sentence."""
        user, tenant = who(config)
        if user is None:
            return "Not remembered: nobody knows who asks."
        run = str((config.get("metadata") or {}).get("run_id", ""))
        try:
            kept = await memories.remember(user, fact, tenant=tenant, source=run)
        except Blocked as error:
            return f"Not remembered: {error.message}."
        return f"Remembered as {kept.key}."

    @tool
    async def forget_fact(fact: str, config: RunnableConfig) -> str:
        """Forget something about the person. fact: what was remembered, in the same words, or its key."""
        user, tenant = who(config)
        known = [] if user is None else await memories.facts(user, tenant=tenant)
        wanted = " ".join(fact.split()).lower()
        keys = [kept.key for kept in known if wanted in (kept.key, kept.text.lower())]
        for key in keys:
            await memories.forget(str(user), key, tenant=tenant)
        return "Forgotten." if keys else f"Nothing like this is remembered. Known: {[kept.text for kept in known]}"

    return [remember_fact, forget_fact]


def _of(config: Mapping[str, Any]) -> BaseStore | None:
    runtime = (config.get(CONF) or {}).get(CONFIG_KEY_RUNTIME)
    return getattr(runtime, "store", None)
