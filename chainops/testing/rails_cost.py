"""What rails cost: on a graph, for one text, and for each piece of a stream."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from chainops.calls import ModelResult
from chainops.pipeline import Middleware, Pipeline

if TYPE_CHECKING:
    from chainops.middleware.rails import Rail, Rails

__all__ = ["measure"]

NODES = 5
TEXT = "how long does a delivery of two chairs to the north of the country take"
Side = Callable[[int], Awaitable[Any]]
_count = itertools.count()


async def measure(rails: Rails, *, rounds: int = 10, at_once: int = 100, progress: Any = None) -> dict[str, Any]:
    """Ratios and times of ``rails``; every text is a new one, so nothing is remembered.

    Args:
        rounds: a figure is the median over so many.
        at_once: runs for the second figure of the graph.
        progress: called with the name of each part as it begins.

    Returns:
        ``graph`` and ``graph_at_once``: ``wall`` and ``cpu``, the graph with rails over the graph without, measured by
        turns; ``rails``: microseconds for one check of a short and a long text by rail; ``stream``: microseconds for
        each piece of an answer, beyond those of a layer that only passes it on.
    """
    say = progress or (lambda part: None)
    say("graph")
    found: dict[str, Any] = {"graph": await _graph(rails, rounds, 1)}
    say(f"{at_once} runs at once")
    found["graph_at_once"] = await _graph(rails, max(2, rounds // 4), at_once)
    say("each rail")
    found["rails"] = {rail.name: await _checks(rail, rounds) for rail in rails.rails}
    say("stream")
    found["stream"] = {"us_per_piece": await _stream(rails, rounds)}
    return found


def _text(words: int) -> str:
    repeated = itertools.islice(itertools.cycle(TEXT.split()), words - 1)
    return f"{' '.join(repeated)} {next(_count)}?"


def _runs(graph: Any) -> Side:
    from langchain_core.messages import HumanMessage

    async def side(at_once: int) -> None:
        asked = [{"messages": [HumanMessage(_text(12))]} for _ in range(at_once)]
        await asyncio.gather(*map(graph.ainvoke, asked))

    return side


def _built() -> Any:
    from langchain_core.messages import AIMessage
    from langgraph.graph import START, MessagesState, StateGraph

    async def node(state: MessagesState) -> Any:
        return {"messages": [AIMessage(_text(12))]}

    builder = StateGraph(MessagesState)
    names = [f"n{i}" for i in range(NODES)]
    for name in names:
        builder.add_node(name, node)
    for before, after in itertools.pairwise([START, *names]):
        builder.add_edge(before, after)
    return builder.compile()


async def _graph(rails: Rails, rounds: int, at_once: int) -> dict[str, float]:
    from chainops.adapters.langgraph import instrument

    each = 10 if at_once == 1 else 1
    sides = {"bare": _runs(_built()), "rails": _runs(instrument(_built(), Pipeline([rails])))}
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name in list(sides) if turn % 2 else list(reversed(sides)):
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(each):
                await sides[name](at_once)
            if turn:  # the first round warms up
                took[name].append(((time.perf_counter() - wall) / each, (time.process_time() - cpu) / each))
    pairs = list(zip(took["rails"], took["bare"], strict=True))
    return {
        "wall": statistics.median(ours[0] / bare[0] for ours, bare in pairs),
        "cpu": statistics.median(ours[1] / bare[1] for ours, bare in pairs),
        "bare_ms": statistics.median(bare[0] for _, bare in pairs) * 1e3,
        "rails_ms": statistics.median(ours[0] for ours, _ in pairs) * 1e3,
    }


async def _checks(rail: Rail, rounds: int) -> dict[str, float]:
    from chainops.middleware.rails import Subject

    found = {}
    for name, words in (("short_us", 12), ("long_us", 250)):
        took = []
        for _ in range(rounds):
            subjects = [Subject(_text(words), rail.places[0]) for _ in range(1 if rail.waits else 50)]
            began = time.process_time()
            for subject in subjects:
                await rail.check(subject)
            took.append((time.process_time() - began) / len(subjects) * 1e6)
        found[name] = statistics.median(took)
    return found


class _PassOn(Middleware):
    async def wrap_model_call(self, call: Any, call_next: Any) -> Any:
        async def emit(chunk: Any) -> None:
            await call.emit(chunk)

        return await call_next(call.replace(emit=emit))


async def _stream(rails: Rails, rounds: int) -> float:
    from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage

    from chainops.calls import ModelCall, RunContext

    pieces = [f"{word} " for word in _text(400).split()]

    async def engine(call: Any) -> ModelResult:
        for piece in pieces:
            await call.emit(AIMessageChunk(content=piece, id="a"))
        return ModelResult(message=AIMessage("".join(pieces), id="a"))

    took: dict[int, list[float]] = {0: [], 1: []}
    for turn in range(rounds):
        for which, layer in enumerate((_PassOn(), rails)):
            run = Pipeline([layer]).around_model(engine)
            call = ModelCall(
                run=RunContext(run_id=f"bench {turn}"),
                kind="model",
                name="bench",
                path="bench",
                engine=engine,
                messages=[HumanMessage(_text(12))],
                streaming=True,
            )
            began = time.process_time()
            await run(call)
            took[which].append((time.process_time() - began) / len(pieces) * 1e6)
    return statistics.median(took[1]) - statistics.median(took[0])
