"""What limits cost, beside asyncio-throttle and aiolimiter, all in one run.

``python tests/bench/bench_limits.py [--rounds 7] [--json]``

* 1,000 waiters on 200 per second: CPU, most in any one second, how many of 300 late arrivals were served before an
  older waiter, longest wait. Our burst is 1. Each side has a process of its own, all at once: they do little but wait
* one call through the layer that need not wait, in microseconds: two rules (requests and tokens per user, places)
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import json
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from aiolimiter import AsyncLimiter
from asyncio_throttle import Throttler
from repeated import Spent, medians, ratios

from chainops import Pipeline
from chainops.middleware.limits import LimitRule, Limits
from chainops.middleware.limits.bucket import Bucket
from chainops.testing import model_call

RATE, WAITERS, LATE = 200, 700, 300


def sides() -> dict[str, Callable[[], Awaitable[Any]]]:
    ours = Bucket(LimitRule(name="bench", requests=RATE, period_s=1.0, burst=1), 10.0)
    throttle, leaky = Throttler(RATE, 1.0), AsyncLimiter(RATE, 1.0)
    return {"ours": lambda: ours.enter(0.0), "asyncio-throttle": throttle.acquire, "aiolimiter": leaky.acquire}


async def measure(enter: Callable[[], Awaitable[Any]]) -> dict[str, float]:
    served: list[tuple[float, int, float]] = []

    async def one(number: int) -> None:
        began = time.monotonic()
        await enter()
        now = time.monotonic()
        served.append((now, number, now - began))

    cpu = time.process_time()
    early = [asyncio.create_task(one(i)) for i in range(WAITERS)]
    await asyncio.sleep(1.0)
    late = [asyncio.create_task(one(WAITERS + i)) for i in range(LATE)]
    await asyncio.gather(*early, *late)
    cpu = time.process_time() - cpu
    times = [at for at, _, _ in served]
    oldest_left = WAITERS - 1
    last_early = max(i for i, (_, number, _) in enumerate(served) if number <= oldest_left)
    return {
        "cpu_s": cpu,
        "most_in_1_s": max(bisect.bisect_right(times, t + 1.0) - i for i, t in enumerate(times)),
        "overtakes": sum(number > oldest_left for _, number, _ in served[:last_early]),
        "longest_s": max(wait for _, _, wait in served),
        "took_s": times[-1] - times[0],
    }


def measured_alone(name: str) -> dict[str, float]:
    return asyncio.run(measure(sides()[name]))


async def layer_us(rounds: int) -> dict[str, list[float]]:
    rules = [LimitRule(name="user", per=("user",), requests=1e9, tokens=1e12), LimitRule(name="all", concurrent=1000)]
    limited, bare = Pipeline([Limits(rules)]).chain("model"), Pipeline([]).chain("model")
    found: dict[str, list[float]] = {"layer_us": [], "layer_us, wall": []}
    for _ in range(rounds):
        took = {}
        for name, chain in (("bare", bare), ("limited", limited)):
            calls = [model_call() for _ in range(2000)]
            with Spent() as took[name]:
                for call in calls:
                    await chain(call)
        found["layer_us"].append((took["limited"].cpu - took["bare"].cpu) / len(calls) * 1e6)
        found["layer_us, wall"].append((took["limited"].wall - took["bare"].wall) / len(calls) * 1e6)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="of the thousand waiters, 5 s each; 0: none")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides()} if options.rounds else {}
    with ProcessPoolExecutor(len(sides()), get_context("spawn")) as processes:
        for _ in range(options.rounds):
            for name, measured in zip(found, processes.map(measured_alone, found), strict=True):
                found[name].append(measured)
    table = {name: {key: [r[key] for r in rounds] for key in rounds[0]} for name, rounds in found.items()}
    report: dict[str, Any] = {"waiters": table}
    for peer in ("asyncio-throttle", "aiolimiter"):
        if table:
            report[f"{peer} CPU / ours"] = ratios(table[peer]["cpu_s"], table["ours"]["cpu_s"])
    report |= asyncio.run(layer_us(15))
    if options.json:
        print(json.dumps(report))
        return
    for name, row in medians(report.pop("waiters")).items():
        print(f"{name:18}", "  ".join(f"{key} {value:.3f}" for key, value in row.items()))
    for name, value in medians(report).items():
        print(f"{name:30} {value:.1f}")


if __name__ == "__main__":
    main()
