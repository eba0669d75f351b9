"""What the pipeline and the trace cost on a graph, as ratios to the bare graph, all in one run.

``python tests/bench/bench_pipeline.py [--rounds 60] [--json]``. Every round runs each variant once, in turn, so a
change of the machine's speed hits all alike; a ratio is the median over rounds of variant / bare of that round.
CPU time is that of the whole process, writer thread included.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langgraph.graph import START, StateGraph
from repeated import medians

from chainops import Middleware, Pipeline, instrument
from chainops.middleware.trace import Trace

RUNS = 20  # graph runs in one measurement


class State(TypedDict, total=False):
    x: int


class PassThrough(Middleware):
    suspends = False

    async def wrap_node_call(self, call: Any, call_next: Any) -> Any:
        return await call_next(call)


class SyncNull(BaseCallbackHandler):
    """A handler whose methods do nothing."""


class AsyncNull(AsyncCallbackHandler):
    """An async handler whose methods do nothing."""


def chain(nodes: int) -> Any:
    async def node(state: State) -> State:
        return {"x": 1}

    builder, previous = StateGraph(State), START
    for i in range(nodes):
        builder.add_node(f"n{i}", node)
        builder.add_edge(previous, f"n{i}")
        previous = f"n{i}"
    return builder.compile()


def variants(folder: Path) -> tuple[dict[str, tuple[Any, dict[str, Any]]], Trace]:
    bare = chain(10)
    trace = Trace(folder / "bench.db")
    five = Pipeline([type(f"Layer{i}", (PassThrough,), {})() for i in range(5)])
    return {
        "bare": (bare, {}),
        "5 layers": (instrument(bare, five), {}),
        "trace": (instrument(bare, Pipeline([trace])), {}),
        "null callback handler (sync)": (bare, {"callbacks": [SyncNull()]}),
        "null callback handler (async)": (bare, {"callbacks": [AsyncNull()]}),
    }, trace


async def measure(graph: Any, config: dict[str, Any], settle: Callable[[], Any]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(RUNS):
        await graph.ainvoke({"x": 0}, config)
    wall = time.perf_counter() - wall
    settle()
    return wall, time.process_time() - cpu


async def bench(rounds: int, folder: Path) -> dict[str, dict[str, list[float]]]:
    graphs, trace = variants(folder)
    for graph, config in graphs.values():
        await measure(graph, config, trace.flush)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in graphs}
    gc.disable()
    names = list(graphs)
    for round_ in range(rounds):
        for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
            graph, config = graphs[name]
            times[name].append(await measure(graph, config, trace.flush if name == "trace" else lambda: None))
        gc.collect()
    gc.enable()
    trace.close()
    base = times["bare"]
    return {
        name: {
            "cpu_ratios": [t[1] / b[1] for t, b in zip(times[name], base, strict=True)],
            "wall_ratios": [t[0] / b[0] for t, b in zip(times[name], base, strict=True)],
            "cpu_us_per_node": [t[1] / RUNS / 10 * 1e6 for t in times[name]],
        }
        for name in graphs
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = asyncio.run(bench(options.rounds, Path(folder)))
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print(f"{'variant':32} {'CPU ratio':>10} {'wall ratio':>11} {'CPU us/node':>12}")
    for name, row in medians(results).items():
        print(f"{name:32} {row['cpu_ratios']:>9.3f}x {row['wall_ratios']:>10.3f}x {row['cpu_us_per_node']:>12.1f}")


if __name__ == "__main__":
    main()
