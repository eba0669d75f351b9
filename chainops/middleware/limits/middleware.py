"""The limits middleware: calls start in order and not too many at once, or are refused with the time to come back."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, ClassVar

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
from chainops.errors import SetupError
from chainops.layer import ALL_KINDS, Middleware
from chainops.middleware.limits.bucket import Bucket
from chainops.middleware.limits.estimate import Estimates
from chainops.middleware.limits.rules import LimitRule, rule_of
from chainops.middleware.limits.shared import LimitFile, LimitStore
from chainops.middleware.limits.shared_bucket import SharedBucket
from chainops.middleware.limits.ticket import Ticket, enter
from chainops.middleware.limits.window import Window

__all__ = ["Limits"]

MAX_BUCKETS = 10_000


class Limits(Middleware):
    """Requests, tokens and calls at once, per user, tenant, node, model ...; who is too early waits in order.

    Tokens are reserved by an estimate and settled with what the model reports; what was not used (a cached answer, a
    call that was cancelled while it waited) is given back. A call that would wait too long, past its deadline, or
    behind too many others, is refused with a ``LimitExceeded`` that says when to come back.

    A node's setting ``limits`` (or the run's metadata) may hold ``priority`` (a number, higher goes first; 0 unless
    given) and ``deadline_s`` (seconds from the start of the run, node or call; no layer waits or retries longer).

    Args:
        rules: the limits, as ``LimitRule`` or tables; a call waits for each that applies, in this order.
        path: a file in which all processes that name it count together; None: this process counts for itself.
        store: in place of ``path``.
        age_s: seconds of waiting that weigh as much as one step of priority.
        deadline_s: of runs whose metadata says nothing; None: none.
        user_key, tenant_key: where the metadata of a run has them.

    Raises:
        SetupError: code ``setup.limits``.
        StoreError: code ``limits.file``.
    """

    name: ClassVar[str] = "limits"
    inside: ClassVar[tuple[str, ...]] = ("trace", "chain", "access")
    outside: ClassVar[tuple[str, ...]] = (
        *("budgets", "experiment", "prompts", "compress", "rails", "pii", "semantic_cache", "cache", "route", "retry"),
    )
    kinds: ClassVar[frozenset[Kind]] = ALL_KINDS

    def __init__(
        self,
        rules: Iterable[LimitRule | Mapping[str, Any]] = (),
        *,
        path: str | Path | None = None,
        store: LimitStore | None = None,
        age_s: float = 10.0,
        deadline_s: float | None = None,
        user_key: str = "user",
        tenant_key: str = "tenant",
    ) -> None:
        self.rules = tuple(rule_of(rule) for rule in rules)
        names = [rule.name for rule in self.rules]
        if len(set(names)) < len(names):
            raise SetupError(f"Two limits have one name: {names}", hint="Rename one.", code="setup.limits")
        self.age_s, self.deadline_s = age_s, deadline_s
        self.user_key, self.tenant_key = user_key, tenant_key
        self.store: LimitStore | None = store
        if self.store is None and path is not None:
            self.store = LimitFile(path)
        self._thread = None if self.store is None else _one_thread()
        self.estimates = Estimates()
        self._of_kind: tuple[Any, dict[str, tuple[tuple[LimitRule, ...], bool]]] | None = None
        self._places: dict[int, set[str]] = {}  # by id of the guard of a running call: the counts in which it has one
        self._buckets: dict[str, Bucket | SharedBucket | Window] = {}
        self._lock = threading.Lock()
        self._sweep_at = MAX_BUCKETS
        os.register_at_fork(after_in_child=partial(_renew, weakref.ref(self)))

    def describe(self) -> Mapping[str, Any]:
        """Its rules."""
        return {"rules": [asdict(rule) for rule in self.rules], "deadline_s": self.deadline_s, "age_s": self.age_s}

    def close(self) -> None:
        """Close the shared counts."""
        if self.store is not None and self._thread is not None:
            self._thread.shutdown()
            self.store.close()

    async def wrap_node_call(self, call: NodeCall, call_next: NodeNext) -> Any:
        """Limits of kind "run", "node" and "task"; deadlines."""
        return await self._through(call, call_next)

    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        """Limits of kind "model"."""
        return await self._through(call, call_next)  # type: ignore[no-any-return]

    async def wrap_tool_call(self, call: ToolCall, call_next: ToolNext) -> Any:
        """Limits of kind "tool" and "retriever"."""
        return await self._through(call, call_next)

    async def _through(self, call: Call, call_next: Handler) -> Any:
        wanted = self._wanted(call)
        rules = self._applying(call)
        if not rules:
            return await call_next(call)
        tickets: list[Ticket] = []
        waited = await self._enter(call, rules, tickets, _number(wanted, "priority", call))
        began, result, entered = time.monotonic(), None, call.guard.entries
        try:
            result = await call_next(call)
            return result
        finally:
            used = self._used(call, result, entered)
            self._leave(call, tickets, used, time.monotonic() - began)
            if waited > 0 or used is not None:
                notes: dict[str, Any] = {"waited_ms": round(waited * 1000, 3), "limits": [r.name for r in rules]}
                if used is not None:
                    notes["tokens"] = used[1]
                call.annotate(self.name, **notes)

    async def _enter(self, call: Call, rules: Sequence[LimitRule], tickets: list[Ticket], priority: float) -> float:
        tokens = 0.0
        if call.kind == "model":
            for rule in rules:
                if rule.tokens is not None:
                    tokens = self.estimates.guess(call)  # type: ignore[arg-type]
                    break
        waited = 0.0
        try:
            for rule in rules:
                key = rule.key(call, self.user_key, self.tenant_key)
                inside = rule.concurrent is not None and call.parent is not None and self._is_inside(call, key)
                bucket = self._bucket(rule, key)
                if not inside and type(bucket) is Bucket and bucket.enter_now(tokens):
                    ticket = Ticket(bucket, tokens, 0.0, "")
                else:
                    remaining = call.remaining_s()
                    patience = inf if remaining is None else remaining
                    ticket = await enter(bucket, tokens, priority, patience, inside=inside)
                    waited += ticket.waited_s
                tickets.append(ticket)
                if rule.concurrent is not None:
                    self._places.setdefault(id(call.guard), set()).add(key)
        except BaseException as error:
            self._leave(call, tickets, (0.0, 0.0), 0.0)
            if (after := getattr(error, "retry_after_s", None)) is not None:
                call.annotate(self.name, refused=getattr(error, "code", ""), retry_after_s=round(after, 3))
            raise
        return waited

    def _applying(self, call: Call) -> Sequence[LimitRule]:
        if self._of_kind is None or self._of_kind[0] is not self.rules:
            self._of_kind = (self.rules, {})
        known = self._of_kind[1].get(call.kind)
        if known is None:
            rules = tuple(rule for rule in self.rules if rule.kind == call.kind)
            known = self._of_kind[1][call.kind] = (rules, any(rule.match for rule in rules))
        rules, some_match = known
        return [r for r in rules if r.applies(call, self.user_key, self.tenant_key)] if some_match else rules

    def _wanted(self, call: Call) -> Mapping[str, Any]:
        """What node settings or, for runs, their metadata say; a deadline is set at once."""
        wanted = call.settings.metadata.get(self.name) or {}
        if not isinstance(wanted, Mapping):
            raise SetupError(
                f"The setting 'limits' of {call.path or call.name} is {wanted!r}, not a table",
                hint='Write {"limits": {"priority": 1, "deadline_s": 30}}.',
                code="setup.limits",
            )
        if call.kind == "run" or (call.parent is None and call.guard.deadline is None):
            seconds = call.run.metadata.get("deadline_s", wanted.get("deadline_s", self.deadline_s))
        else:
            seconds = wanted.get("deadline_s") if call.kind in ("node", "task") else None
        if seconds is not None:
            call.due_in(float(seconds))
        return wanted

    def _used(self, call: Call, result: Any, entered: int) -> tuple[float, float] | None:
        """Requests and tokens that the call really took; None: as reserved."""
        if call.guard.entries == entered:  # answered by a layer inside: nothing was asked of anybody
            return 0.0, 0.0
        if isinstance(result, ModelResult) and isinstance(call, ModelCall):
            self.estimates.learn(call, result)
            if result.tokens:
                return 1.0, float(result.tokens)
        return None

    def _leave(self, call: Call, tickets: list[Ticket], used: tuple[float, float] | None, held_s: float) -> None:
        self._places.pop(id(call.guard), None)
        for ticket in reversed(tickets):
            ticket.leave(used, held_s)

    def _is_inside(self, call: Call, key: str) -> bool:
        outer = call.parent
        while outer is not None:
            if key in self._places.get(id(outer.guard), ()):
                return True
            outer = outer.parent
        return False

    def _bucket(self, rule: LimitRule, key: str) -> Bucket | SharedBucket | Window:
        bucket = self._buckets.get(key)
        if bucket is None:
            with self._lock:
                if len(self._buckets) >= self._sweep_at:
                    now = time.monotonic()
                    self._buckets = {k: b for k, b in self._buckets.items() if not b.idle(now)}
                    # where nearly all are in use, the next look is far off: not one for every new key
                    self._sweep_at = max(MAX_BUCKETS, 2 * len(self._buckets))
                bucket = self._buckets.setdefault(key, self._new(rule, key))
        return bucket

    def _new(self, rule: LimitRule, key: str) -> Bucket | SharedBucket | Window:
        if rule.mode == "throttle":
            return Window(rule, self.age_s)
        if self.store is not None and self._thread is not None:
            return SharedBucket(rule, self.age_s, self.store, key, self._thread)
        return Bucket(rule, self.age_s)


def _one_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="chainops limits")


def _renew(limits: weakref.ref[Limits]) -> None:
    """In a forked child: threads, locks and the places of running calls stayed behind."""
    if (mine := limits()) is not None:
        mine._lock, mine._places, mine._buckets = threading.Lock(), {}, {}
        if mine._thread is not None:
            mine._thread = _one_thread()


def _number(wanted: Mapping[str, Any], name: str, call: Call) -> float:
    value = wanted.get(name, call.run.metadata.get(name, 0.0))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SetupError(
            f"{name} of {call.path or call.name} is {value!r}, not a number",
            hint='Write {"limits": {"priority": 1}}.',
            code="setup.limits",
        )
    return float(value)
