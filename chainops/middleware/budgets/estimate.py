"""What a call may cost at most, before it is made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from chainops.calls import ModelCall
from chainops.costing import Price, Unpriced, Usage, cost_micro
from chainops.costing.money import Exchange
from chainops.store.prices.books import Prices
from chainops.store.prices.naming import names_of, seller_of

__all__ = ["Estimator"]

BYTES_PER_TOKEN = 3
PER_MESSAGE = 8
PER_PART = 1500
MAX_KNOWN = 2000
FADES = 0.99
_MOST = ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens")


class Estimator:
    """Reserves rather too much than too little: what is too much comes back when the call has ended.

    Input: a token for 3 bytes of text, 1,500 for a picture or file. Output: what the call allows at most, else
    ``answer_tokens``. Where calls of the same node and model cost more than that, more. Where the model may be one of
    several, the dearest. Where there is no price: the most that a call of the same node and model has cost so far, else
    ``unpriced``.

    Args:
        candidates: by the name of an alias or deployment, the deployments that may answer.
        servers: addresses of deployments.
    """

    def __init__(
        self,
        unpriced: int,
        answer_tokens: int,
        models: Mapping[str, str],
        candidates: Mapping[str, Sequence[str]],
        servers: Mapping[str, str],
    ) -> None:
        self.unpriced = unpriced
        self.answer_tokens = answer_tokens
        self.models = dict(models)
        self.candidates = dict(candidates)
        self.servers = dict(servers)
        self._seen: dict[tuple[str, str], int] = {}
        self._short: dict[tuple[str, str], float] = {}

    def guess(self, call: ModelCall, prices: Prices | None, exchange: Exchange) -> int:
        """Micro-units."""
        at = datetime.now(UTC)
        seller = seller_of(call, None)
        usage: Usage | None = None
        found: list[int] = []
        for names, whose in self._who(call, seller):
            price = prices.find(names, whose, at=at) if prices is not None else None
            if price is None:
                continue
            usage = usage or Usage(input=tokens_in(call), output=self._answer(call))
            micro = self._at(price, usage, exchange)
            if micro is not None:
                found.append(micro)
        key = call.path, call.name
        if found:
            return max(math.ceil(max(found) * self._short.get(key, 1.0)), 1)
        return max(self._seen.get(key, 0) or self.unpriced, 1)

    def learn(self, call: ModelCall, guessed: int, micro: int) -> None:
        """Remember what a call has cost, and how far its estimate fell short: that fades over some hundred calls."""
        key = call.path, call.name
        if len(self._seen) >= MAX_KNOWN:
            self._seen.clear()
            self._short.clear()
        self._seen[key] = max(micro, self._seen.get(key, 0))
        short = self._short.get(key, 1.0)
        self._short[key] = max(1.0, short * micro / guessed, short * FADES)

    def _who(self, call: ModelCall, seller: str | None) -> list[tuple[tuple[str, ...], str | None]]:
        wanted = call.settings.metadata.get("route")
        wanted = wanted.get("model") if isinstance(wanted, Mapping) else wanted
        for name in (wanted, *names_of(call, {}, None)):
            if name in self.candidates:
                found = self.candidates[name]
                return [(self._named((each,)), self.servers.get(each)) for each in found]
        return [(self._named(names_of(call, {}, None)), seller)]

    def _named(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return (*(self.models[name] for name in names if name in self.models), *names)

    def _at(self, price: Price, usage: Usage, exchange: Exchange) -> int | None:
        """None where it is paid by time, which nobody knows before, or in a currency without a rate."""
        if "hour" in price.rates or "kwh" in price.rates:
            return None
        try:
            return exchange.micro(cost_micro(price.rates, usage), price.currency)
        except Unpriced:
            return None

    def _answer(self, call: ModelCall) -> int:
        for key in _MOST:
            for value in (call.params.get(key), getattr(call.model, key, None)):
                if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                    return value
        return self.answer_tokens


def tokens_in(call: ModelCall) -> int:
    """Not less than the messages and tools have, for nearly every tokenizer and language."""
    size = parts = 0
    for message in call.messages:
        content: Any = message.content
        for part in [content] if isinstance(content, str) else content:
            if isinstance(part, str):
                size += len(part.encode("utf-8", "replace"))
            elif isinstance(part, dict) and isinstance(part.get("text"), str):
                size += len(part["text"].encode("utf-8", "replace"))
            else:
                parts += 1
        if calls := getattr(message, "tool_calls", None):
            size += len(orjson.dumps(calls, default=str))
    if tools := call.params.get("tools"):
        size += len(orjson.dumps(tools, default=str, option=orjson.OPT_NON_STR_KEYS))
    return math.ceil(size / BYTES_PER_TOKEN) + PER_MESSAGE * len(call.messages) + PER_PART * parts
