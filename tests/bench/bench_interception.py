"""What layers around nodes and model calls cost, beside LangChain's own ways, as ratios to the bare graph, in one run.

``python tests/bench/bench_interception.py [--rounds 40] [--json]``. Every round runs each variant once, in turn; a
ratio is the median over rounds of variant / bare of that round, CPU time of the process, and wall time beside it.

* graph: ten nodes that do nothing; 0, 1, 5 and 10 of our layers around every node; callback handlers of LangChain
* agent: ``create_agent`` with one model call; 1, 5 and 10 of our layers around the model call; as many of LangChain's
  ``AgentMiddleware`` with the node hook ``before_model``, and with the wrap hook ``awrap_model_call``
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
from typing import Any, TypedDict

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langgraph.graph import START, StateGraph
from repeated import Spent, medians

from chainops import Middleware, Pipeline, instrument
from chainops.testing import ScriptedModel

RUNS = 15


class State(TypedDict, total=False):
    x: int


def ours(count: int) -> list[Middleware]:
    """Layers that pass nodes and model calls on."""

    async def through(self: Any, call: Any, call_next: Any) -> Any:
        return await call_next(call)

    body = {"wrap_node_call": through, "wrap_model_call": through, "suspends": False}
    return [type(f"Layer{i}", (Middleware,), body)() for i in range(count)]


def theirs(count: int, hook: str) -> list[AgentMiddleware]:
    """LangChain's middleware that pass on, with one hook."""

    async def wrap(self: Any, request: Any, handler: Any) -> Any:
        return await handler(request)

    async def before(self: Any, state: Any, runtime: Any) -> None:
        return None

    body = {"awrap_model_call": wrap} if hook == "wrap" else {"abefore_model": before}
    return [type(f"Theirs{hook}{i}", (AgentMiddleware,), dict(body))() for i in range(count)]


def graph() -> Any:
    async def node(state: State) -> State:
        return {"x": 1}

    builder, previous = StateGraph(State), START
    for i in range(10):
        builder.add_node(f"n{i}", node)
        builder.add_edge(previous, f"n{i}")
        previous = f"n{i}"
    return builder.compile()


def agent(middleware: list[Any] | None = None) -> Any:
    return create_agent(ScriptedModel(["Yes."], repeat=True), tools=[], middleware=middleware or [])


def variants() -> dict[str, dict[str, tuple[Any, Any, dict[str, Any]]]]:
    empty: dict[str, Any] = {}
    graphs = {
        "bare": (graph(), {"x": 0}, empty),
        **{f"{n} layers": (instrument(graph(), Pipeline(ours(n))), {"x": 0}, empty) for n in (0, 1, 5, 10)},
        "a callback handler, async": (graph(), {"x": 0}, {"callbacks": [type("A", (AsyncCallbackHandler,), {})()]}),
        "a callback handler, sync": (graph(), {"x": 0}, {"callbacks": [type("S", (BaseCallbackHandler,), {})()]}),
    }
    asked = {"messages": [("user", "Is it?")]}
    agents: dict[str, tuple[Any, Any, dict[str, Any]]] = {"bare": (agent(), asked, empty)}
    for n in (1, 5, 10):
        agents[f"{n} layers"] = (instrument(agent(), Pipeline(ours(n))), asked, empty)
        agents[f"{n} LangChain, wrap hook"] = (agent(theirs(n, "wrap")), asked, empty)
        agents[f"{n} LangChain, node hook"] = (agent(theirs(n, "node")), asked, empty)
    return {"graph": graphs, "agent": agents}


async def measure(app: Any, given: Any, config: dict[str, Any]) -> Spent:
    with Spent() as spent:
        for _ in range(RUNS):
            await app.ainvoke(given, config)
    return spent


async def compare(rounds: int) -> dict[str, dict[str, dict[str, list[float]]]]:
    report = {}
    for kind, ones in variants().items():
        found: dict[str, list[Spent]] = {name: [] for name in ones}
        for one in ones.values():
            await measure(*one)
        for round_ in range(rounds):
            gc.collect()
            names = list(ones) if round_ % 2 else list(reversed(ones))
            for name in names:
                found[name].append(await measure(*ones[name]))
        report[kind] = {
            name: {
                "cpu": [v.cpu / b.cpu for v, b in zip(values, found["bare"], strict=True)],
                "wall": [v.wall / b.wall for v, b in zip(values, found["bare"], strict=True)],
            }
            for name, values in found.items()
        }
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = asyncio.run(compare(options.rounds))
    if options.json:
        print(json.dumps(report))
        return
    for kind, variants_of in medians(report).items():
        for name, ratio in variants_of.items():
            print(f"{kind:6} {name:28} {ratio['cpu']:.2f}x CPU {ratio['wall']:.2f}x wall")


if __name__ == "__main__":
    main()
