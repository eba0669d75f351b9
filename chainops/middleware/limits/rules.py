"""One limit: for which calls, per what, and how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

from chainops.calls import Call, Kind
from chainops.errors import SetupError
from chainops.layer import NODE_KINDS

__all__ = ["LimitRule", "Per"]

Per = Literal["user", "tenant", "thread", "graph", "node", "model", "name"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRule:
    """At most so many calls, tokens and calls at once, for each value of ``per``.

    Args:
        name: of the rule, in errors and spans; unique.
        per: what is counted apart: "user", "tenant", "thread", "graph", "node", "model" (or "name": of the tool,
            retriever or node). Empty: all calls together. Runs without a user share one count.
        kind: of the calls that count: "model", "tool", "retriever", "node", "task" or "run".
        match: globs that the call must match, by the same words as ``per``.
        requests: calls per ``period_s``; None: any number.
        tokens: tokens, in and out, per ``period_s``; only for kind "model"; None: any number.
        concurrent: calls at the same time; a call inside a call that has its place needs none of its own.
        period_s: seconds.
        burst: calls that may start together after a pause, on top of the steady rate; None: a tenth of ``requests``.
        burst_tokens: the same in tokens; None: a tenth of ``tokens``.
        max_queue: calls that may wait; the next one is refused.
        max_wait_s: seconds a call may wait; who would wait longer is refused at once.
        mode: "fifo": a steady rate, first come first served, no polling. "throttle": ``asyncio-throttle``'s strict
            window, never more than ``requests`` in any ``period_s``, in this process only, and in no order.

    Raises:
        SetupError: code ``setup.limits``.
    """

    name: str
    per: tuple[Per, ...] = ()
    kind: Kind = "model"
    match: Mapping[str, str] = field(default_factory=dict)
    requests: float | None = None
    tokens: float | None = None
    concurrent: int | None = None
    period_s: float = 60.0
    burst: float | None = None
    burst_tokens: float | None = None
    max_queue: int = 1000
    max_wait_s: float = 60.0
    mode: Literal["fifo", "throttle"] = "fifo"

    def __post_init__(self) -> None:
        if self.requests is None and self.tokens is None and self.concurrent is None:
            raise _wrong(self, "limits nothing", "Give it `requests`, `tokens` or `concurrent`.")
        for what in ("requests", "tokens", "concurrent", "period_s", "max_wait_s"):
            value = getattr(self, what)
            if value is not None and not value > 0:
                raise _wrong(self, f"has {what} = {value}", "Give a number above 0, or leave it out.")
        if self.max_queue < 0:
            raise _wrong(self, f"has max_queue = {self.max_queue}", "0 refuses every call that would have to wait.")
        for what in ("burst", "burst_tokens"):
            value = getattr(self, what)
            if value is not None and not value >= 1:
                raise _wrong(self, f"has {what} = {value}", "At least 1: one call starts at a time.")
        if unknown := {*self.per, *self.match}.difference(get_args(Per)):
            raise _wrong(self, f"names {', '.join(sorted(unknown))}", f"One of {', '.join(get_args(Per))}.")
        if self.tokens is not None and self.kind != "model":
            raise _wrong(self, f"counts tokens of kind {self.kind!r}", "Only model calls have tokens.")
        if self.mode == "throttle" and (self.requests is None or self.tokens is not None or self.burst is not None):
            raise _wrong(
                self, "has mode = 'throttle'", "A throttle counts `requests` only; mode 'fifo' does the other things."
            )
        if self.mode == "throttle" and self.requests != int(self.requests or 0):
            raise _wrong(self, f"has requests = {self.requests}", "A throttle counts whole calls.")

    def applies(self, call: Call, user_key: str, tenant_key: str) -> bool:
        """True when calls like this one count."""
        return call.kind == self.kind and all(
            fnmatchcase(word_of(call, what, user_key, tenant_key), glob) for what, glob in self.match.items()
        )

    def key(self, call: Call, user_key: str, tenant_key: str) -> str:
        """Under which the call is counted: the rule's name and the values of ``per``."""
        if not self.per:
            return self.name
        return "\x1f".join((self.name, *[word_of(call, what, user_key, tenant_key) for what in self.per]))


def word_of(call: Call, what: str, user_key: str, tenant_key: str) -> str:
    """The call's user, tenant, thread ...; empty where it has none."""
    if what == "user":
        return str(call.run.metadata.get(user_key, ""))
    if what == "tenant":
        return str(call.run.metadata.get(tenant_key, ""))
    if what == "thread":
        return call.run.thread_id or ""
    if what == "graph":
        return call.run.graph
    if what == "node":
        return call.path if call.kind not in NODE_KINDS or call.path else call.name
    return call.name


def _wrong(rule: LimitRule, what: str, hint: str) -> SetupError:
    return SetupError(f"Limit {rule.name!r} {what}", hint=hint, code="setup.limits")


def rule_of(value: LimitRule | Mapping[str, Any]) -> LimitRule:
    """A rule from a table of the settings."""
    if isinstance(value, LimitRule):
        return value
    try:
        return LimitRule(**{**value, "per": tuple(value.get("per", ()))})
    except TypeError as error:
        raise SetupError(
            f"A limit is {dict(value)!r}: {error}", hint="See LimitRule in the reference.", code="setup.limits"
        ) from error
