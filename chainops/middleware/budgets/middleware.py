"""The budgets middleware: a call whose money is spent is refused, or goes the cheap way."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chainops.calls import Kind, ModelCall, ModelNext, ModelResult
from chainops.costing import amount
from chainops.costing.money import Exchange, check_currency, micro_of
from chainops.errors import LimitExceeded, SetupError
from chainops.middleware.budgets.estimate import Estimator
from chainops.middleware.budgets.rules import Budget, Whose, budget_of, span_of
from chainops.pipeline import Middleware
from chainops.store.budgets import BudgetFile, Claim, Refused
from chainops.store.prices import OWN, SNAPSHOT, PriceBooks, Prices

__all__ = ["Budgets"]

log = logging.getLogger("chainops")


class Budgets(Middleware):
    """Money per user, tenant or chain and per day, month or year, counted exactly in all processes at once.

    Before a call its estimate is reserved; afterwards what ``Cost`` noted is charged, and the rest given back. Cached
    answers and calls that fail cost nothing. Past a soft limit the annotation ``budgets`` says ``degrade``, which a
    router reads; past a hard one the call is refused with a ``LimitExceeded`` that says when the next period begins.
    What has no price is charged at its estimate.

    A node's setting ``budgets`` (or the run's metadata) may hold ``priority``: below 0, a call may use only a share of
    each budget (``low_share``); above 0, it is never sent the cheap way.

    Args:
        rules: budgets, as ``Budget`` or tables. Of those with one ``per`` and ``period`` the first that fits counts.
        path: the file with the accounts, shared by all processes that use it.
        prices: the database with the price books; None: no price is known before a call.
        books, currency, rates, models: as in ``Cost``, which must stand in the same pipeline.
        timezone: in which days, months and years begin.
        estimate: reserved where nothing is known, in units of the currency.
        answer_tokens: reserved for an answer where the call sets no limit.
        candidates: by the name of an alias of a gateway, the deployments that may answer.
        servers: addresses of deployments, as in ``Cost``.
        user_key, tenant_key: where the metadata of a run has them. Runs without a user share one account.
        clock: seconds since 1970, for tests.

    Raises:
        SetupError: code ``setup.budgets``.
        LimitExceeded: from calls, code ``budgets.spent``.
        StoreError: from calls, code ``budgets.file``: without its accounts no call is let through.
    """

    name: ClassVar[str] = "budgets"
    inside: ClassVar[tuple[str, ...]] = ("trace", "chain", "access", "limits")
    outside: ClassVar[tuple[str, ...]] = (
        *("experiment", "prompts", "compress", "rails", "pii", "semantic_cache", "cache", "route", "retry", "cost"),
    )
    kinds: ClassVar[frozenset[Kind]] = frozenset({"model"})

    def __init__(
        self,
        rules: Iterable[Budget | Mapping[str, Any]] = (),
        path: str | Path = "chainops-budgets.db",
        *,
        prices: str | Path | None = "chainops.db",
        books: Sequence[str] = (OWN, SNAPSHOT),
        currency: str = "USD",
        rates: Mapping[str, str | int | float] | None = None,
        models: Mapping[str, str] | None = None,
        timezone: str = "UTC",
        estimate: str | int | float = "0.01",
        answer_tokens: int = 1024,
        candidates: Mapping[str, Sequence[str]] | None = None,
        servers: Mapping[str, str] | None = None,
        user_key: str = "user",
        tenant_key: str = "tenant",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.rules = tuple(budget_of(rule) for rule in rules)
        self.currency = check_currency(currency)
        self.exchange = Exchange(self.currency, rates or {})
        self.user_key, self.tenant_key, self.clock = user_key, tenant_key, clock
        self.file = BudgetFile(path, clock=clock)
        self.books = None if prices is None else PriceBooks(prices, books)
        self.estimator = Estimator(
            micro_of(estimate, "estimate"), answer_tokens, models or {}, candidates or {}, servers or {}
        )
        self._warned = False
        try:
            self.zone = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise SetupError(
                f"{timezone!r} is no time zone", hint="Write Europe/Berlin, or UTC.", code="setup.budgets"
            ) from None

    def describe(self) -> Mapping[str, Any]:
        """Its budgets."""
        return {"rules": [asdict(rule) for rule in self.rules], "currency": self.currency, "timezone": str(self.zone)}

    def close(self) -> None:
        """Write what waits, and close the file."""
        self.file.close()

    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        """Reserve, make the call, settle."""
        whose = self._whose(call)
        rules = self._rules(whose)
        if not rules:
            return await call_next(call)
        priority = _priority(call)
        now = self.clock()
        spans = [span_of(rule.period, now, self.zone) for rule in rules]
        claims = [self._claim(rule, whose, span[0], priority) for rule, span in zip(rules, spans, strict=True)]
        places = [claim.account for claim in claims]
        reserved = self.estimator.guess(call, await self._prices(), self.exchange)
        id_ = await self._reserve(call, reserved, claims, rules, whose, spans)
        before, entered = _paid(call), call.guard.entries
        try:
            result = await call_next(call)
        except BaseException:
            self._settle(call, id_, reserved, places, before, None)
            raise
        self._settle(call, id_, reserved, places, before, call.guard.entries - entered)
        return result

    def _rules(self, whose: Mapping[Whose, str]) -> list[Budget]:
        found: dict[str, Budget] = {}
        for rule in self.rules:
            if rule.scope not in found and rule.fits(whose):
                found[rule.scope] = rule
        return list(found.values())

    def _whose(self, call: ModelCall) -> dict[Whose, str]:
        metadata = call.run.metadata
        user, tenant = metadata.get(self.user_key), metadata.get(self.tenant_key)
        return {
            "user": "" if user is None else str(user),
            "tenant": "" if tenant is None else str(tenant),
            "chain": call.run.graph,
        }

    def _claim(self, rule: Budget, whose: Mapping[Whose, str], span: str, priority: float) -> Claim:
        share = rule.low_share if priority < 0 else 1.0
        hard = None if rule.hard is None else int(rule.hard * share)
        soft = None if rule.soft is None or priority > 0 else int(rule.soft * share)
        return Claim((rule.scope, rule.key(whose), span, self.currency), hard, soft)

    async def _prices(self) -> Prices | None:
        if self.books is None:
            return None
        if (fresh := self.books.fresh()) is not None:
            return fresh
        try:
            return await asyncio.to_thread(self.books.load)
        except Exception as error:  # noqa: BLE001 - without prices more is reserved than need be, and nothing is free
            if not self._warned:
                self._warned = True
                log.warning("Budgets are reserved without prices: %s", error)
            return self.books.known

    async def _reserve(
        self,
        call: ModelCall,
        reserved: int,
        claims: Sequence[Claim],
        rules: Sequence[Budget],
        whose: Mapping[Whose, str],
        spans: Sequence[tuple[str, datetime]],
    ) -> str:
        id_ = uuid.uuid4().hex
        asked = self.file.reserve(id_, reserved, claims)
        try:
            answer = await asyncio.wrap_future(asked)
        except asyncio.CancelledError:
            self.file.release(id_)  # the thread works in order: after the reservation, if there was one
            raise
        if isinstance(answer, Refused):
            rule, (span, then) = rules[answer.position], spans[answer.position]
            call.annotate(self.name, refused=rule.scope, reserved=reserved)
            raise self._refusal(rule, whose, claims[answer.position], answer, reserved, span, then)
        told: dict[str, Any] = {"reserved": reserved, "currency": self.currency}
        if answer.left is not None:
            told["left"] = answer.left
        if answer.over:
            told |= {"degrade": True, "soft": [rules[position].scope for position in answer.over]}
        call.annotate(self.name, **told)
        return id_

    def _refusal(
        self,
        rule: Budget,
        whose: Mapping[Whose, str],
        claim: Claim,
        answer: Refused,
        reserved: int,
        span: str,
        then: datetime,
    ) -> LimitExceeded:
        assert claim.hard is not None
        used = f"{amount(answer.spent)} spent"
        if answer.reserved:
            used += f" and {amount(answer.reserved)} reserved"
        lower = " for calls of low priority" if rule.hard is not None and claim.hard < rule.hard else ""
        return LimitExceeded(
            f"The budget of {rule.told(whose)} for {span} has not enough left: {used} of "
            f"{amount(claim.hard, self.currency)}{lower}; this call may cost {amount(reserved)}",
            hint=f"The next {rule.period} begins at {then.astimezone(self.zone).isoformat()}. "
            "Wait, set a smaller max_tokens, or raise the budget in [[budgets.rules]].",
            code="budgets.spent",
            retry_after_s=max(then.timestamp() - self.clock(), 0.0),
        )

    def _settle(
        self,
        call: ModelCall,
        id_: str,
        reserved: int,
        places: Sequence[tuple[str, str, str, str]],
        before: int,
        entries: int | None,
    ) -> None:
        """Charge what was paid for. ``entries``: how often the model was asked; None: the call failed."""
        marks = call.guard.marks
        note = (marks.notes.get("cost") or {}) if marks is not None else {}
        micro = _paid(call) - before
        other = bool(note) and note.get("currency", self.currency) != self.currency
        # a call that failed gives back, but a stream that was read and then left is not free
        partly = "cut" in note if entries is None else "unknown" in note or (entries > 0 and not note)
        guess = other or partly
        if guess:
            micro = reserved if other else max(micro, reserved)
        elif entries:
            self.estimator.learn(call, reserved, micro)
        if micro == 0 and entries is None:
            self.file.release(id_)
        else:
            self.file.settle(id_, micro, places, guess=guess)


def _paid(call: ModelCall) -> int:
    """What ``Cost`` has noted so far, in micro-units."""
    marks = call.guard.marks
    micro = (marks.notes.get("cost") or {}).get("micro", 0) if marks is not None else 0
    return micro if isinstance(micro, int) else 0


def _priority(call: ModelCall) -> float:
    wanted = call.settings.metadata.get("budgets") or {}
    value = wanted.get("priority") if isinstance(wanted, Mapping) else wanted
    if value is None:
        value = call.run.metadata.get("priority", 0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SetupError(
            f"The priority of {call.path or call.name} is {value!r}, not a number",
            hint='Write {"budgets": {"priority": -1}}; below 0 is low.',
            code="setup.budgets",
        )
    return float(value)
