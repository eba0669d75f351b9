"""The exact cache: a call that was answered before, with everything it depends on the same, is not made again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
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
from chainops.errors import Blocked, is_control_flow
from chainops.middleware.cache.asking import Asked, Asking, NotCached
from chainops.middleware.cache.flight import ALONE, LEAD, Flights, Landed
from chainops.middleware.cache.policy import documents_of, is_deterministic_error, why_not_stored
from chainops.middleware.cache.rules import Rule, Scope
from chainops.middleware.cache.stream import Recording, answer_of, replay, value_of
from chainops.pipeline import Middleware
from chainops.store.cache import CacheStore, Entry, Tiers, Unfaithful, copy_value, open_tiers
from chainops.store.cache.tiers import brief

__all__ = ["Cache"]

log = logging.getLogger("chainops")
MAX_ERRORS = 1000
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
        )
        self.flights = Flights()
        self.single_flight = single_flight
        self.negative_ttl_s = negative_ttl_s
        self.known_errors = errors
        self.pace = replay == "pace"
        self._told: set[tuple[str, str]] = set()
        self._errors: OrderedDict[str, tuple[float, Exception]] = OrderedDict()

    async def wrap_node_call(self, call: NodeCall, call_next: NodeNext) -> Any:
        """Nodes and tasks that ask for it."""
        try:
            asked = await self.asking.node(call)
        except (NotCached, Unfaithful) as why:
            return await self._uncached(call, call_next, why)
        return await self._through(call, call_next, asked)

    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        """Model calls whose answer would be the same."""
        try:
            asked = await self.asking.model(call)
        except (NotCached, Unfaithful) as why:
            result: ModelResult = await self._uncached(call, call_next, why)
            _spent(call, result.tokens)
            return result
        return await self._through(call, call_next, asked)  # type: ignore[no-any-return]

    async def wrap_tool_call(self, call: ToolCall, call_next: ToolNext) -> Any:
        """Retrievers, and tools without side effects."""
        try:
            asked = await self.asking.tool(call)
        except (NotCached, Unfaithful) as why:
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
            reason = str(why) if isinstance(why, NotCached) else f"the input holds a {why}"
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
            return await self._hit(call, asked, entry)
        # who comes after an invalidation must not get what a call from before it brings home
        flight = f"{key}@{self.tiers.generation()}"
        if self._errors:
            self._raise_known(call, flight)
        if not self.single_flight:
            return (await self._run(call, call_next, asked, flight))[0]
        future = self.flights.join(flight)
        if future is not None:
            if entry is not None:  # somebody is making it anew: this one need not wait
                future.cancel()
                return await self._hit(call, asked, entry)
            landed = await self.flights.wait(flight, future)
            if landed is ALONE:
                return await call_next(call)
            if landed.error is not None:
                raise landed.error
            if landed is not LEAD:
                return await self._hit(call, asked, landed.value, joined=True)
        return await self._fly(call, call_next, asked, flight, anew=entry is not None)

    async def _fly(self, call: Call, call_next: Handler, asked: Asked, flight: str, *, anew: bool) -> Any:
        landed: Landed | None = None
        leased = False
        try:
            entry = None if anew else await self._elsewhere(asked.key)
            if entry is not None:
                landed = Landed(entry)
                return await self._hit(call, asked, entry, joined=True)
            leased = not anew and self.tiers.store.shared
            result, entry = await self._run(call, call_next, asked, flight)
            landed = ALONE if entry is None else Landed(entry)
        except Exception as error:
            alone = is_control_flow(error) or isinstance(error, Blocked) or _is_private(call, asked)
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
            self._remember(call, asked, flight, error)
            raise
        ms = (time.perf_counter() - began) * 1000
        self.tiers.behind.add(call.kind, {"miss": 1, "ms": ms})
        if isinstance(result, ModelResult):
            _spent(call, result.tokens)
        entry, why = self._entry(call, asked, result, recording, ms)
        if entry is not None and not why:
            self.tiers.put(entry, seen)
            call.annotate("cache", key=asked.key, stored=True)
        else:
            call.annotate("cache", key=asked.key, stored=False, why=why)
            note = {"why": why, "kind": call.kind, "node": call.path, "at": time.time(), "parts": asked.parts}
            self.tiers.behind.note(asked.key, lambda: orjson.dumps({**note, "parts": brief(asked.parts)}, default=str))
        return result, entry

    def _entry(
        self, call: Call, asked: Asked, result: Any, recording: Recording | None, ms: float
    ) -> tuple[Entry | None, str]:
        """What may be given to others, and why it is not to be kept; None where nobody else may have it."""
        if why := _whose(call, asked):
            return None, why
        try:
            value = value_of(result, recording) if isinstance(result, ModelResult) else copy_value(result)
        except Unfaithful as error:
            return None, f"the result holds a {error}"
        if call.kind == "retriever":
            call.tag(*documents_of(result))
        marks, now, rule = call.guard.marks, self.tiers.clock(), asked.rule
        spent = marks.notes.get("cache.spent", {}) if marks is not None else {}
        expires = None if rule.ttl_s is None else now + rule.ttl_s
        entry = Entry(
            key=asked.key,
            kind=call.kind,
            node=call.path,
            value=value,
            created=now,
            expires=expires,
            stale_until=expires + rule.stale_s if expires is not None and rule.stale_s else None,
            ms=round(ms, 3),
            tokens=int(spent.get("tokens", 0)),
            micro=int(spent.get("micro", 0)),
            tags=(*asked.tags, *sorted(marks.tags)) if marks is not None and marks.tags else asked.tags,
            parts=asked.parts,
        )
        return entry, why_not_stored(result) if isinstance(result, ModelResult) else _replaces(call, result)

    async def _hit(self, call: Call, asked: Asked, entry: Entry, *, joined: bool = False) -> Any:
        age = max(self.tiers.clock() - entry.created, 0.0)
        told = {
            "kind": "exact",
            "key": entry.key,
            "age_s": round(age, 3),
            "saved_tokens": entry.tokens,
            "saved_ms": entry.ms,
            "saved_micro": entry.micro,
        }
        call.annotate("cache", **told, **({"joined": True} if joined else {}))
        saved = {"saved_ms": entry.ms, "saved_tokens": entry.tokens, "saved_micro": entry.micro}
        self.tiers.behind.add(call.kind, {"joined" if joined else "hit": 1, **saved})
        if call.parent is not None and call.parent.kind != "run":
            call.parent.tag(*entry.tags)
        if isinstance(call, ModelCall):
            result, chunks = answer_of(entry.value, call.messages, {"cache": told})
            await replay(call, result, chunks, entry.value.get("at", ()), self.pace)
            return result
        value = copy_value(entry.value)
        if isinstance(call, ToolCall) and hasattr(value, "tool_call_id"):
            value.tool_call_id = call.call_id
        return value

    def _raise_known(self, call: Call, flight: str) -> None:
        until, error = self._errors.get(flight, (0.0, None))
        if error is None:
            return
        if time.monotonic() < until:
            call.annotate("cache", kind="error", key=flight.partition("@")[0])
            self.tiers.behind.add(call.kind, {"error hit": 1})
            raise error
        self._errors.pop(flight, None)

    def _remember(self, call: Call, asked: Asked, flight: str, error: Exception) -> None:
        """An error that would come again is kept in memory for a moment, in this process."""
        private = _is_private(call, asked)
        if self.negative_ttl_s and not private and is_deterministic_error(error, self.known_errors):
            self._errors[flight] = time.monotonic() + self.negative_ttl_s, error
            if len(self._errors) > MAX_ERRORS:
                self._errors.popitem(last=False)


def _is_private(call: Call, asked: Asked) -> bool:
    return call.guard.marks is not None and call.guard.marks.private and not asked.user_in_key


def _whose(call: Call, asked: Asked) -> str:
    """Why nobody else may have the result; empty where others may."""
    marks = call.guard.marks
    if marks is None:
        return ""
    if marks.asked:
        return "a person was asked on the way"
    return "it is private to a user who is not in the key" if marks.private and not asked.user_in_key else ""


def _replaces(call: Call, result: Any) -> str:
    """A node may answer with a message that replaces one of its input, by id; another run has other ids."""
    if not isinstance(call, NodeCall):
        return ""
    given = _ids(call.input)
    return "a message of the result replaces one of the input" if given and given & _ids(result) else ""


def _ids(state: Any) -> set[str]:
    values = state.values() if isinstance(state, dict) else (state,)
    lists = [value if isinstance(value, list) else [value] for value in values]
    return {m.id for part in lists for m in part if getattr(m, "response_metadata", None) is not None and m.id}


def _spent(call: Call, tokens: int) -> None:
    """Add what a model call used to it and to every call around it."""
    marks = call.guard.marks
    cost = marks.notes.get("cost", {}).get("micro", 0) if marks is not None else 0
    around: Call | None = call
    while around is not None:
        spent = around.guard.mark().notes.setdefault("cache.spent", {"tokens": 0, "micro": 0})
        spent["tokens"] += tokens
        spent["micro"] += cost
        around = around.parent
