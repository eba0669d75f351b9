"""The exact cache: a call that was answered before, with everything it depends on the same, is not made again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import orjson

from chainops.calls import (
    Call,
    Handler,
    Kind,
    ModelCall,
    ModelNext,
    ModelResult,
    NodeCall,
    NodeNext,
    ToolCall,
    ToolNext,
)
from chainops.errors import Blocked, SetupError, is_control_flow
from chainops.middleware.cache.answers import entry_for, is_private, serve, spent
from chainops.middleware.cache.asking import Asked, Asking, NotCached
from chainops.middleware.cache.flight import ALONE, LEAD, Flights, Landed
from chainops.middleware.cache.known_errors import KnownErrors
from chainops.middleware.cache.rules import Rule, Scope
from chainops.middleware.cache.stream import Recording
from chainops.pipeline import Middleware
from chainops.store.cache import CacheStore, Entry, Tiers, Unfaithful, open_tiers
from chainops.store.cache.tiers import brief

__all__ = ["Cache"]

log = logging.getLogger("chainops")
MAX_TOLD = 1000
POLL_S = (0.005, 0.1)


class Cache(Middleware):
    """Answers model, retriever, tool and node calls that were answered before; equal calls at once run once.

    The key is everything that the answer depends on: tenant, graph and node, rendered messages, what the model, tool
    or code is, sampling, tools, and what layers said with ``call.depends``. Model calls are cached at temperature 0 or
    with a seed, retrievers that say what they are, tools that are said to have no side effects, and nodes that ask for
    it (``{"cache": {"node": true}}``). Never: truncated answers, errors (but see ``negative_ttl_s``), what a layer
    called private to a user unless the user is in the key, and what cannot be written down without loss.

    Args:
        directory: of the files, shared by all processes that use it; None: in this process only.
        ttl_s: seconds an answer is served; None: for ever.
        stale_s: seconds after that in which it is still served while one caller makes a new one.
        early_refresh: how eagerly one caller makes an answer anew before it expires (XFetch); 0: never.
        scope: who shares answers: all of a ``"tenant"``, one ``"user"``, one ``"thread"``.
        tenant_key, user_key: where the run's metadata has them. Runs without a tenant share with each other only.
        tools: globs on the names of tools without side effects.
        versions: what a node, model, tool or retriever is, by glob on its name, where its code cannot tell.
        only_deterministic: False caches answers of models at any temperature.
        negative_ttl_s: seconds for which an error that would come again is raised without asking again; 0: never.
        errors: more types of such errors than ``CallError``.
        replay: a cached stream comes ``"at_once"`` or at the recorded ``"pace"``.
        single_flight: False lets equal calls run at the same time.
        memory_entries: answers kept as objects. size_limit: bytes on disk.
        config: JSON that all keys contain.
        stands_for: the models that may answer for a model that is only a name (``Gateway.stands_for``); an application
            from settings has it from its layer ``route``.
        store: in place of ``directory``.

    Raises:
        StoreError: code ``cache.directory`` or ``cache.file``.
    """

    name: ClassVar[str] = "cache"
    inside: ClassVar[tuple[str, ...]] = (
        *("trace", "access", "limits", "experiment", "prompts", "compress", "rails", "pii", "semantic_cache"),
    )
    outside: ClassVar[tuple[str, ...]] = ("route", "retry")
    kinds: ClassVar[frozenset[Kind]] = frozenset({"node", "task", "model", "tool", "retriever"})

    def __init__(
        self,
        directory: str | Path | None = None,
        *,
        ttl_s: float | None = 7 * 86_400.0,
        stale_s: float = 0.0,
        early_refresh: float = 1.0,
        scope: Scope = "tenant",
        tenant_key: str = "tenant",
        user_key: str = "user",
        tools: Sequence[str] = (),
        versions: Mapping[str, str] | None = None,
        only_deterministic: bool = True,
        negative_ttl_s: float = 2.0,
        errors: tuple[type[Exception], ...] = (),
        replay: Literal["at_once", "pace"] = "at_once",
        single_flight: bool = True,
        memory_entries: int = 2000,
        size_limit: int = 2**30,
        config: Mapping[str, Any] | None = None,
        stands_for: Callable[[Any], Sequence[Any]] | None = None,
        store: CacheStore | None = None,
    ) -> None:
        options: dict[str, Any] = {"recent": memory_entries, "early": early_refresh}
        self.tiers = Tiers(store, **options) if store else open_tiers(directory, size_limit=size_limit, **options)
        self.asking = Asking(
            default=Rule(ttl_s=ttl_s, stale_s=stale_s, scope=scope, tools=tuple(tools)),
            tenant_key=tenant_key,
            user_key=user_key,
            versions=dict(versions or {}),
            config=dict(config or {}),
            only_deterministic=only_deterministic,
            stands_for=stands_for,
        )
        self.flights = Flights()
        self.single_flight = single_flight
        self.errors = KnownErrors(negative_ttl_s, errors)
        self.pace = replay == "pace"
        self._told: set[tuple[str, str]] = set()

    async def wrap_node_call(self, call: NodeCall, call_next: NodeNext) -> Any:
        """Nodes and tasks that ask for it."""
        try:
            asked = await self.asking.node(call)
        except SetupError:
            raise
        except Exception as why:  # noqa: BLE001 - a key that cannot be made never breaks a call
            return await self._uncached(call, call_next, why)
        return await self._through(call, call_next, asked)

    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        """Model calls whose answer would be the same."""
        try:
            asked = await self.asking.model(call)
        except SetupError:
            raise
        except Exception as why:  # noqa: BLE001 - a key that cannot be made never breaks a call
            result: ModelResult = await self._uncached(call, call_next, why)
            spent(call, result.tokens)
            return result
        return await self._through(call, call_next, asked)  # type: ignore[no-any-return]

    async def wrap_tool_call(self, call: ToolCall, call_next: ToolNext) -> Any:
        """Retrievers, and tools without side effects."""
        try:
            asked = await self.asking.tool(call)
        except SetupError:
            raise
        except Exception as why:  # noqa: BLE001 - a key that cannot be made never breaks a call
            return await self._uncached(call, call_next, why)
        return await self._through(call, call_next, asked)

    def invalidate(self, *tags: str) -> int:
        """Forget all answers with one of ``tags``, in every process; how many were stored. Blocks for milliseconds."""
        return self.tiers.invalidate(tags)

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until everything is stored that was put so far."""
        return self.tiers.flush(timeout)

    def close(self) -> None:
        """Store what waits, and close the files."""
        self.tiers.close()

    async def _uncached(self, call: Call, call_next: Handler, why: Exception) -> Any:
        if not (isinstance(why, NotCached) and why.silent):
            reason = str(why)
            if isinstance(why, Unfaithful):
                reason = f"the input holds a {why}"
            elif not isinstance(why, NotCached):
                reason = f"no key could be made: {why!r}"
            call.annotate("cache", stored=False, why=reason)
            self.tiers.behind.add(call.kind, {"not cacheable": 1})
            self._note_once(call, reason)
        return await call_next(call)

    def _note_once(self, call: Call, why: str) -> None:
        """For ``chainops cache explain``: why calls of this node have no key, once in a process."""
        told = call.path, why
        if told not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(told)
            note = orjson.dumps({"why": why, "kind": call.kind, "node": call.path, "at": time.time()})
            self.tiers.behind.note("", lambda: note)

    async def _through(self, call: Call, call_next: Handler, asked: Asked) -> Any:
        key = asked.key
        entry = self.tiers.get(key)
        if entry is not None and not self.tiers.is_due(entry):
            return await serve(self.tiers, call, entry, joined=False, pace=self.pace)
        # who comes after an invalidation must not get what a call from before it brings home
        flight = f"{key}@{self.tiers.generation()}"
        if (error := self.errors.get(flight)) is not None:
            call.annotate("cache", kind="error", key=key)
            self.tiers.behind.add(call.kind, {"error hit": 1})
            raise error
        if not self.single_flight:
            return (await self._run(call, call_next, asked, flight))[0]
        future = self.flights.join(flight)
        if future is not None:
            if entry is not None:  # somebody is making it anew: this one need not wait
                future.cancel()
                return await serve(self.tiers, call, entry, joined=False, pace=self.pace)
            landed = await self.flights.wait(flight, future)
            if landed is ALONE:
                return await call_next(call)
            if landed.error is not None:
                raise landed.error
            if landed is not LEAD:
                return await serve(self.tiers, call, landed.value, joined=True, pace=self.pace)
        return await self._fly(call, call_next, asked, flight, anew=entry is not None)

    async def _fly(self, call: Call, call_next: Handler, asked: Asked, flight: str, *, anew: bool) -> Any:
        landed: Landed | None = None
        leased = False
        try:
            entry = None if anew else await self._elsewhere(asked.key)
            if entry is not None:
                landed = Landed(entry)
                return await serve(self.tiers, call, entry, joined=True, pace=self.pace)
            leased = not anew and self.tiers.store.shared
            result, entry = await self._run(call, call_next, asked, flight)
            landed = ALONE if entry is None else Landed(entry)
        except Exception as error:
            alone = is_control_flow(error) or isinstance(error, Blocked) or is_private(call, asked)
            landed = ALONE if alone else Landed(error=error)
            raise
        finally:
            if landed is not None:
                self.flights.land(flight, landed)
            elif self.flights.hand_over(flight):
                leased = False  # the next one of this process keeps it
            if leased:
                self.tiers.behind.release(asked.key)
        return result

    async def _elsewhere(self, key: str) -> Entry | None:
        """What another process makes at this moment; None: nobody does, and this process has the lease now."""
        entry = self.tiers.get(key)  # somebody may have ended while this one joined
        if entry is not None and not self.tiers.is_due(entry):
            return entry
        store, behind, wait = self.tiers.store, self.tiers.behind, POLL_S[0]
        if not store.shared:
            return None
        while not await self._lease(key):
            await asyncio.sleep(wait)
            wait = min(wait * 1.5, POLL_S[1])
            entry = self.tiers.get(key)
            if entry is not None:
                return entry
        behind.leased(key)
        entry = self.tiers.get(key)  # the other may have ended between the look and the lease
        if entry is not None and not self.tiers.is_due(entry):
            behind.release(key)
            return entry
        return None

    async def _lease(self, key: str) -> bool:
        behind = self.tiers.behind
        try:
            return await asyncio.to_thread(self.tiers.store.lease, key, behind.owner, behind.lease_s)
        except Exception as error:  # noqa: BLE001 - a store that fails costs a second execution, not the call
            log.debug("No lease could be had: %r", error)
            return True

    async def _run(self, call: Call, call_next: Handler, asked: Asked, flight: str) -> tuple[Any, Entry | None]:
        """The result of the call, and the entry that others may be served from."""
        seen, began = self.tiers.generation(), time.perf_counter()
        recording = Recording(call.emit) if isinstance(call, ModelCall) and call.streaming else None
        try:
            result = await call_next(call if recording is None else call.replace(emit=recording))
        except Exception as error:
            if not is_private(call, asked):
                self.errors.put(flight, error)
            raise
        ms = (time.perf_counter() - began) * 1000
        self.tiers.behind.add(call.kind, {"miss": 1, "ms": ms})
        if isinstance(result, ModelResult):
            spent(call, result.tokens)
        entry, why = entry_for(self.tiers, call, asked, result, recording, ms)
        if entry is not None and not why:
            self.tiers.put(entry, seen)
            call.annotate("cache", key=asked.key, stored=True)
        else:
            call.annotate("cache", key=asked.key, stored=False, why=why)
            note = {"why": why, "kind": call.kind, "node": call.path, "at": time.time(), "parts": asked.parts}
            self.tiers.behind.note(asked.key, lambda: orjson.dumps({**note, "parts": brief(asked.parts)}, default=str))
        return result, entry
