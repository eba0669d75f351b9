"""An instrumented graph does what the graph does: every scenario, with and without layers that really wait."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from chainops import Middleware, Pipeline, instrument
from chainops.layer import ALL_KINDS
from tests.conformance.scenarios import SCENARIOS

NO_NODE_RUNS = {"a_timeout_on_a_sync_node_is_refused", "drawing_of_tools"}


class Inline(Middleware):
    name = "watch"
    kinds = ALL_KINDS
    suspends = False

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def _watch(self, call: Any, call_next: Any) -> Any:
        self.seen.append(call.kind)
        return await call_next(call)

    wrap_node_call = wrap_model_call = wrap_tool_call = _watch


class Suspending(Inline):
    name = "watch"
    suspends = True

    async def _watch(self, call: Any, call_next: Any) -> Any:
        self.seen.append(call.kind)
        await asyncio.sleep(0)
        return await call_next(call)

    wrap_node_call = wrap_model_call = wrap_tool_call = _watch


def normalised(value: Any) -> str:
    """Without what is random or depends on the clock."""
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", repr(value))
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.+]+", "TIME", text)
    text = re.sub(r"0x[0-9a-f]+", "ADDRESS", text)
    text = re.sub(r"\b[0-9a-f]{32}\b", "HASH", text)
    return re.sub(r"'(duration|time)': [\d.e-]+", "DURATION", text)


@pytest.mark.filterwarnings("ignore")  # LangGraph marks its v3 streams as beta with a warning
@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("layer", [Inline, Suspending])
def test_an_instrumented_graph_does_what_the_graph_does(name: str, layer: type[Inline]) -> None:
    watch = layer()
    pipeline = Pipeline([watch])
    expected = normalised(SCENARIOS[name](lambda graph: graph))
    assert watch.seen == []
    got = normalised(SCENARIOS[name](lambda graph: instrument(graph, pipeline)))
    assert got == expected
    assert ("node" in watch.seen) != (name in NO_NODE_RUNS)
