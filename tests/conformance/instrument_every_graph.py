"""A pytest plugin for LangGraph's own test suite: every graph that a test compiles runs through a pipeline.

``-p instrument_every_graph`` with this folder on the path. ``CHAINOPS_LAYERS`` is ``suspending`` (default: layers
that really wait, so synchronous runs use the portal loop) or ``inline`` (layers that never suspend). All layers
pass everything on unchanged: whatever fails now and did not before is our fault. See reference/conformance.md.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from typing import Any

from langgraph.func import entrypoint
from langgraph.graph.state import StateGraph
from langgraph.pregel import Pregel

from chainops import Middleware, Pipeline, instrument
from chainops.adapters.ambient import install
from chainops.adapters.langgraph import InstrumentedNode, _instrument_node
from chainops.adapters.scope import Plan
from chainops.layer import ALL_KINDS

SEEN: Counter[str] = Counter()
LOCK = threading.Lock()


class PassThrough(Middleware):
    name = "pass_through"
    kinds = ALL_KINDS
    suspends = os.environ.get("CHAINOPS_LAYERS", "suspending") != "inline"

    async def _count(self, call: Any, call_next: Any) -> Any:
        with LOCK:
            SEEN[call.kind] += 1
        if self.suspends:
            await asyncio.sleep(0)
        return await call_next(call)

    wrap_node_call = wrap_model_call = wrap_tool_call = _count


PIPELINE = Pipeline([PassThrough()])
install()

_compile, _entrypoint, _init = StateGraph.compile, entrypoint.__call__, Pregel.__init__


def compiled(self: Any, *args: Any, **kwargs: Any) -> Any:
    SEEN["graphs"] += 1
    return instrument(_compile(self, *args, **kwargs), PIPELINE)


def call(self: Any, func: Any) -> Any:
    SEEN["graphs"] += 1
    return instrument(_entrypoint(self, func), PIPELINE)


def init(self: Any, *args: Any, **kwargs: Any) -> None:
    _init(self, *args, **kwargs)
    if type(self) is Pregel:  # a raw Pregel cannot be replaced from its constructor: only its nodes are wrapped
        SEEN["graphs"] += 1
        plan = Plan(PIPELINE, self.name, True)
        self.nodes = {
            name: node if isinstance(node, InstrumentedNode) else _instrument_node(node, plan, name)
            for name, node in self.nodes.items()
        }


compiled.__wrapped__ = _compile  # type: ignore[attr-defined]
StateGraph.compile, entrypoint.__call__, Pregel.__init__ = compiled, call, init  # type: ignore[method-assign]


def pytest_terminal_summary(terminalreporter: Any, exitstatus: int, config: Any) -> None:
    terminalreporter.write_line(f"CHAINOPS layers={'suspending' if PassThrough.suspends else 'inline'} {dict(SEEN)}")
