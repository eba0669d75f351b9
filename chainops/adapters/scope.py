"""Which instrumented call is running here: the one context variable of chainops.

A chat model or tool called in user code has no other way to know its node. Written by engines only, so that
the code of middleware runs outside any scope: a model that a middleware calls is not intercepted again.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from os import urandom
from typing import TYPE_CHECKING, Any

from chainops.calls import Call, RunContext

if TYPE_CHECKING:
    from chainops.pipeline import Pipeline

__all__ = ["CURRENT", "Scope", "new_run", "run_id_v7"]


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


def run_id_v7() -> str:
    """A UUIDv7 (RFC 9562): milliseconds since 1970, then random bits; ids of one process never go backwards."""
    global _last
    with _lock:
        # 12 bits below the millisecond keep ids made within one millisecond in order
        _last = stamp = max(time.time_ns() * 4096 // 1_000_000, _last + 1)
    value = (stamp >> 12) << 80 | 7 << 76 | (stamp & 0xFFF) << 64 | 2 << 62 | int.from_bytes(urandom(8), "big") >> 2
    return str(uuid.UUID(int=value))


def new_run(graph: str, config: Mapping[str, Any]) -> RunContext:
    """The context of a run that starts here, read from its RunnableConfig."""
    configurable = config.get("configurable")
    thread = configurable.get("thread_id") if configurable else None
    return RunContext(
        run_id=run_id_v7(),
        thread_id=None if thread is None else str(thread),
        graph=graph,
        tags=tuple(config.get("tags") or ()),
        metadata=config.get("metadata") or {},
    )
