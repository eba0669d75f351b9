"""What a cached answer costs, as ratios, both sides in one run and alternating.

``python tests/bench/bench_cache.py [--rounds 60] [--json]``. A ratio is the median over rounds of one side divided by
the other of the same round; which side goes first changes from round to round. Wall time and CPU time of the whole
process (threads included).

* LangGraph's async ``SqliteCache`` hit (its key function and ``aget``) / an exact hit at the node, through the layer;
  the call objects, which a run makes with and without a cache, are made before
* a bare ``diskcache`` get of the same bytes (key known) / a get from our tiers (key known): LRU; disk tier, decoded
* what a write costs the caller: copying the answer and putting it, in microseconds (for itself the first of each
  round, which wakes the thread and finds cold processor caches); diskcache's set / that
* a model call answered from the cache, through the layer, in microseconds: key of 10 messages included
* 1,000 equal calls at once: how often the model ran
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import diskcache
import orjson
from langchain_core.messages import AIMessage, HumanMessage
from langgraph._internal._cache import default_cache_key
from langgraph.cache.sqlite import SqliteCache
from repeated import medians

from chainops import Pipeline
from chainops.calls import NodeSettings, RunContext
from chainops.middleware.cache import Cache
from chainops.store.cache import Entry, open_tiers
from chainops.testing import ScriptedModel, model_call, node_call

CALLS = 200
TEXT = "Delivery takes two days. " * 28  # 0.7 KB
STATE = {"question": "How long does delivery take?", "documents": [f"Document {i}: {TEXT[:60]}" for i in range(5)]}
ANSWER = {"answer": TEXT, "sources": ["faq.md", "terms.md"]}
Side = Callable[[list[Any]], Awaitable[None]]


def node(state: Any) -> Any:
    return ANSWER


async def measure(side: Side, make: Callable[[], Any] = dict, count: int = CALLS) -> tuple[float, float]:
    """Wall and CPU seconds for each of ``count`` things that ``make`` makes before."""
    things = [make() for _ in range(count)]
    cpu, wall = time.process_time(), time.perf_counter()
    await side(things)
    return (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count


async def compare(ours: Side, theirs: Side, rounds: int, make: Callable[[], Any] = dict) -> dict[str, list[float]]:
    for side in (ours, theirs):
        await measure(side, make)
    ratios: list[tuple[float, float]] = []
    took: list[tuple[float, float]] = []
    for round_ in range(rounds):
        first, second = (ours, theirs) if round_ % 2 else (theirs, ours)
        found = {first: await measure(first, make), second: await measure(second, make)}
        ratios.append((found[theirs][0] / found[ours][0], found[theirs][1] / found[ours][1]))
        took.append((found[ours][0] * 1e6, found[theirs][0] * 1e6))
    return {
        "ratio, wall": [wall for wall, _ in ratios],
        "ratio, CPU": [cpu for _, cpu in ratios],
        "ours, us": [ours_us for ours_us, _ in took],
        "theirs, us": [theirs_us for _, theirs_us in took],
    }


async def node_hit(folder: Path, rounds: int) -> dict[str, list[float]]:
    cache = Cache(folder / "node")
    settings = NodeSettings.parse({"cache": True}, "node")
    run = RunContext(run_id="r", graph="bench", metadata={"tenant": "acme"})
    chain = Pipeline([cache]).chain("node")

    async def engine(call: Any) -> Any:
        return node(call.input)

    def call() -> Any:
        return node_call(STATE, run=run, settings=settings, runnable=node, engine=engine, config={})

    assert await chain(call()) == ANSWER
    ran = call()
    assert await chain(ran) == ANSWER
    assert ran.guard.entries == 0, "the node ran: this is no hit"

    async def ours(calls: list[Any]) -> None:
        for each in calls:
            await chain(each)

    theirs_cache: SqliteCache[Any] = SqliteCache(path=str(folder / "langgraph.db"))
    namespace = ("__pregel_ns_writes", "bench.node", "node")
    writes = [("answer", ANSWER["answer"]), ("sources", ANSWER["sources"])]
    await theirs_cache.aset({(namespace, str(default_cache_key(STATE))): (writes, None)})

    async def theirs(calls: list[Any]) -> None:
        for _ in calls:
            full = (namespace, str(default_cache_key(STATE)))
            assert await theirs_cache.aget([full])

    found = await compare(ours, theirs, rounds, call)
    cache.close()
    return found


async def gets(folder: Path, rounds: int) -> dict[str, dict[str, list[float]]]:
    tiers = open_tiers(folder / "tiers")
    entry = Entry(key="k" * 32, kind="model", node="n", value=ANSWER, created=time.time(), expires=time.time() + 9e9)
    tiers.put(entry, tiers.generation())
    tiers.flush()
    bare = diskcache.Cache(str(folder / "bare"))
    bare["k" * 32] = orjson.dumps(ANSWER)

    async def lru(calls: list[Any]) -> None:
        for _ in calls:
            assert tiers.get(entry.key) is not None

    async def disk(calls: list[Any]) -> None:
        for _ in calls:
            tiers.recent.drop(entry.key)
            assert tiers.get(entry.key) is not None

    async def theirs(calls: list[Any]) -> None:
        for _ in calls:
            assert bare.get(entry.key) is not None

    found = {
        "bare diskcache get / LRU get": await compare(lru, theirs, rounds),
        "bare diskcache get / disk tier get (decoded)": await compare(disk, theirs, rounds),
    }
    bare.close()
    tiers.close()
    return found


async def writes(folder: Path, rounds: int) -> dict[str, Any]:
    """The writer's thread is let finish between rounds, so that the caller's part is measured and not its share."""
    from chainops.store.cache import copy_value

    tiers = open_tiers(folder / "writes")
    bare = diskcache.Cache(str(folder / "bare-writes"))
    answer = AIMessage(TEXT, usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3})
    data, seen, number = orjson.dumps(ANSWER), tiers.generation(), 0
    own: list[float] = []
    first: list[float] = []
    theirs: list[float] = []
    per_round: list[tuple[float, float]] = []
    for _ in range(rounds):
        for i in range(20):
            number += 1
            started = time.perf_counter()
            value = {"message": copy_value(answer)}
            entry = Entry(
                key=f"{number:032}", kind="model", node="n", value=value, created=time.time(), tags=("a", "b")
            )
            tiers.put(entry, seen)
            (own if i else first).append(time.perf_counter() - started)
        tiers.flush()
        for _ in range(20):
            number += 1
            started = time.perf_counter()
            bare[f"{number:032}"] = data
            theirs.append(time.perf_counter() - started)
        per_round.append((statistics.median(own[-19:]), statistics.median(theirs[-20:])))
    tiers.close()
    bare.close()
    return {
        "ours on the caller's path, us": [mine * 1e6 for mine, _ in per_round],
        "ours, 95th percentile, us": statistics.quantiles(own, n=20)[-1] * 1e6,
        "ours, the first after SQLite writes, us": [seconds * 1e6 for seconds in first],
        "diskcache set, us": [other * 1e6 for _, other in per_round],
        "ratio, wall": [other / mine for mine, other in per_round],
    }


async def model_hit(rounds: int) -> dict[str, list[float]]:
    cache, model = Cache(), ScriptedModel([TEXT])
    chain = Pipeline([cache]).around_model(model)
    talk = tuple((HumanMessage if i % 2 == 0 else AIMessage)(f"turn {i}: {TEXT[:80]}") for i in range(10))
    run = RunContext(run_id="r", graph="bench")
    took = []
    for _ in range(rounds * 10):
        call = model_call(messages=talk, model=model, params={"temperature": 0}, run=run)
        started = time.perf_counter()
        await chain(call)
        took.append(time.perf_counter() - started)
    assert len(model.calls) == 1
    cache.close()
    return {"us": [seconds * 1e6 for seconds in took[10:]]}


async def thousand() -> dict[str, float]:
    cache, model = Cache(), ScriptedModel([TEXT], repeat=True, delay=0.01)
    chain = Pipeline([cache]).around_model(model)
    calls = [model_call(model=model, params={"temperature": 0}) for _ in range(1000)]
    started = time.perf_counter()
    await asyncio.gather(*[chain(call) for call in calls])
    took = time.perf_counter() - started
    cache.close()
    return {"model ran": len(model.calls), "ms for all": took * 1000}


async def main(rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return {
            "LangGraph's async SqliteCache hit / exact hit at the node": await node_hit(folder, rounds),
            **await gets(folder, rounds),
            "writes": await writes(folder, rounds),
            "model call answered from the cache (10 messages)": await model_hit(rounds),
            "1,000 equal calls at once": await thousand(),
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = asyncio.run(main(args.rounds))
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        for title, figures in medians(found).items():
            print(title)
            for name, value in figures.items():
                print(f"  {name:40} {value:10.2f}")
