"""The cost middleware: what each model call cost, and by which price."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from chainops.calls import Emit, Kind, ModelCall, ModelNext, ModelResult
from chainops.costing import Price, Unpriced, Usage, cost_micro
from chainops.costing.money import Exchange, check_currency
from chainops.errors import is_control_flow
from chainops.pipeline import Middleware
from chainops.store.prices import OWN, SNAPSHOT, PriceBooks, Prices
from chainops.store.prices.naming import context_of, names_of, route_of, seller_of

__all__ = ["Cost"]

log = logging.getLogger("chainops")


class Cost(Middleware):
    """Notes on every model call what it cost. Must be the innermost layer: each attempt of a retry is paid for.

    The annotation is ``cost``: ``micro`` (millionths of ``currency``, summed over the attempts), ``currency``,
    ``price`` (the version of the price book), ``model`` (its name there). What has no price gets ``unknown`` with the
    reason and no ``micro``: it is not zero. It only watches: whatever goes wrong in it, the call goes on.

    Args:
        path: the database with the price books; the one of ``Trace``.
        books: names of price books; the first that knows a model says its price. ``genai-prices`` is made when missing.
        currency: of all figures.
        rates: for prices in other currencies: what one unit of each is worth in ``currency``, ``{"EUR": "1.08"}``.
        models: which name in the books a model, deployment or alias has, where it is another.
        servers: addresses of deployments of a gateway: of those that nobody sells, only own prices count.
        clock: seconds since 1970, for tests.

    Raises:
        SetupError: a currency or rate that is none (``cost.currency``, ``cost.amount``).
    """

    name: ClassVar[str] = "cost"
    inside: ClassVar[tuple[str, ...]] = (
        *("trace", "chain", "access", "limits", "budgets", "experiment", "prompts", "compress", "rails", "pii"),
        *("semantic_cache", "cache", "route", "retry"),
    )
    kinds: ClassVar[frozenset[Kind]] = frozenset({"model"})

    def __init__(
        self,
        path: str | Path = "chainops.db",
        *,
        books: Sequence[str] = (OWN, SNAPSHOT),
        currency: str = "USD",
        rates: Mapping[str, str | int | float] | None = None,
        models: Mapping[str, str] | None = None,
        servers: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.currency = check_currency(currency)
        self.exchange = Exchange(currency, rates or {})
        self.models = dict(models or {})
        self.servers = dict(servers or {})
        self.books = PriceBooks(path, books, clock=clock)
        self.failures = 0

    def describe(self) -> Mapping[str, Any]:
        """Nothing: what a call costs changes no answer."""
        return {}

    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        """Make the call, and note what it cost."""
        route = route_of(call)  # before anything is awaited: other attempts note theirs
        prices = self.books.fresh()
        if prices is None:
            prices = await self._load()
        passed = _Passed(call.emit) if call.streaming else None
        began = time.perf_counter()
        try:
            result = await call_next(call if passed is None else call.replace(emit=passed))
        except BaseException as error:
            if not is_control_flow(error):
                cut = passed is not None and passed.any
                begun = cut or isinstance(error, asyncio.CancelledError)
                self._note(call, route, None, prices, time.perf_counter() - began, begun=begun, cut=cut)
            raise
        self._note(call, route, result, prices, _busy_s(result, time.perf_counter() - began), begun=True)
        return result

    async def _load(self) -> Prices | None:
        """In another thread; None where there are no prices at all."""
        try:
            return await asyncio.to_thread(self.books.load)
        except Exception as error:  # noqa: BLE001 - an observer never breaks a call
            self._failed("Price books cannot be read: %s", error)
            return self.books.known

    def _note(
        self,
        call: ModelCall,
        route: Mapping[str, Any],
        result: ModelResult | None,
        prices: Prices | None,
        seconds: float,
        *,
        begun: bool,
        cut: bool = False,
    ) -> None:
        try:
            found = self._priced(call, route, result, prices, seconds, begun)
            if cut and "unknown" in found:
                found["cut"] = True
            if found:
                call.annotate(self.name, **_with_earlier(call, found))
        except Exception as error:  # noqa: BLE001 - an observer never breaks a call
            self._failed("What a call cost could not be noted: %r (please report this)", error)

    def _priced(
        self,
        call: ModelCall,
        route: Mapping[str, Any],
        result: ModelResult | None,
        prices: Prices | None,
        seconds: float,
        begun: bool,
    ) -> dict[str, Any]:
        """The annotation; empty for an attempt that failed before anything was used."""
        names = names_of(call, route, result)
        names = tuple(dict.fromkeys((*(self.models[name] for name in names if name in self.models), *names)))
        if prices is None:
            return {"unknown": "there are no price books"}
        now = datetime.fromtimestamp(self.books.clock(), UTC)
        price = prices.find(names, seller_of(call, result, route, self.servers), at=now, context=context_of(result))
        if price is None:
            return {"unknown": f"no price for {names[0]!r}"} if begun else {}
        timed = "hour" in price.rates or "kwh" in price.rates
        if result is None and not timed:
            return {"unknown": "the call ended before its usage was known"} if begun else {}
        try:
            usage = None if result is None else Usage.of(result.message)
            if result is not None and _was_cached(result):
                usage, seconds = Usage(), 0.0
            rates = price.rates if result is not None else _by_time(price)
            micro = self.exchange.micro(cost_micro(rates, usage, seconds), price.currency)
            if micro is None:
                raise Unpriced(f"the price is in {price.currency}, and [cost.rates] has no {price.currency}")
        except Unpriced as error:
            return {"unknown": str(error), "model": price.model, "price": price.ref}
        told = {"micro": micro, "currency": self.currency, "price": price.ref, "model": price.model}
        return {**told, "seconds": round(seconds, 6)} if timed else told

    def _failed(self, text: str, error: Exception) -> None:
        self.failures += 1
        if self.failures == 1:
            log.warning(text, error)


class _Passed:
    """An ``emit`` that remembers whether anything passed: then a call that fails has used something."""

    __slots__ = ("any", "emit")

    def __init__(self, emit: Emit) -> None:
        self.emit = emit
        self.any = False

    async def __call__(self, chunk: Any) -> None:
        self.any = True
        await self.emit(chunk)


def _was_cached(result: ModelResult) -> bool:
    """True for an answer from LangChain's own cache: it marks the usage of the first one."""
    told: Mapping[str, Any] = result.message.usage_metadata or {}
    return told.get("total_cost") == 0


def _by_time(price: Price) -> dict[str, Any]:
    """What a call that failed used for certain: its time."""
    return {key: value for key, value in price.rates.items() if key in ("hour", "kwh", "watts", "slots")}


def _busy_s(result: ModelResult, seconds: float) -> float:
    """How long the machine worked: what the engine says, without waiting in its queue; else how long it took."""
    timings = result.message.response_metadata.get("timings")
    if isinstance(timings, dict) and {"prefill_ms", "decode_ms"} <= timings.keys():
        return float(timings["prefill_ms"] + timings["decode_ms"]) / 1000
    return seconds


def _with_earlier(call: ModelCall, found: dict[str, Any]) -> dict[str, Any]:
    """The sum over the attempts of one call: a layer outside may ask again, or several at once."""
    marks = call.guard.marks
    earlier = marks.notes.get("cost") if marks is not None else None
    if not earlier:
        return found
    attempts = {"attempts": earlier.get("attempts", 1) + 1}
    if "micro" in earlier and "micro" in found:
        attempts["micro"] = earlier["micro"] + found["micro"]
    return {**found, **attempts}
