"""Which instrumented call is running here: the one context variable of chainops.

A chat model or tool called in user code has no other way to know its node. Written by engines only, so that
the code of middleware runs outside any scope: a model that a middleware calls is not intercepted again.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chainops.calls import Call, RunContext
from chainops.held import HELD

if TYPE_CHECKING:
    from chainops.pipeline import Pipeline

__all__ = ["CURRENT", "Plan", "Scope", "new_run", "plan_of", "run_id_v7"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How one graph is instrumented."""

    pipeline: Pipeline
    graph: str
    auto: bool


def plan_of(graph: Any) -> Plan | None:
    """How ``graph`` is instrumented, or None."""
    for node in graph.nodes.values():
        plan: Plan | None = node.__dict__.get("plan")
        return plan
    return None


class Scope:
    """The enclosing call and the pipeline that it went through.

    ``auto``: whether that graph picks up models, tools, retrievers and graphs unasked.
    ``inside``: whether this is such a graph and the code of a node, task, route or tool is running, and not only
    LangGraph's between two nodes.
    """

    __slots__ = ("auto", "call", "inside", "pipeline")

    def __init__(self, pipeline: Pipeline, call: Call, auto: bool) -> None:
        self.pipeline, self.call, self.auto = pipeline, call, auto
        self.inside = auto and call.kind != "run"


CURRENT: ContextVar[Scope | None] = ContextVar("chainops_scope", default=None)

_last = 0
_lock = threading.Lock()
_random = random.Random()  # noqa: S311 - for uniqueness, not for secrets; seeded by the system, apart from the user's
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


def run_id_v7() -> str:
    """A UUIDv7 (RFC 9562): milliseconds since 1970, then random bits; ids of one process never go backwards."""
    global _last  # noqa: PLW0603 - ids are ordered within the process
    with _lock:
        # 12 bits below the millisecond keep ids made within one millisecond in order
        _last = stamp = max(time.time_ns() * 4096 // 1_000_000, _last + 1)
        noise = _random.getrandbits(62)
    h = f"{(stamp >> 12) << 80 | 7 << 76 | (stamp & 0xFFF) << 64 | 2 << 62 | noise:032x}"
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def new_run(graph: str, config: Mapping[str, Any]) -> RunContext:
    """The context of a run that starts here, read from its RunnableConfig."""
    configurable = config.get("configurable")
    thread = configurable.get("thread_id") if configurable else None
    return RunContext(
        run_id=run_id_v7(),
        thread_id=None if thread is None else str(thread),
        graph=graph,
        held=HELD.get(),
        tags=tuple(config.get("tags") or ()),
        metadata=config.get("metadata") or {},
    )
