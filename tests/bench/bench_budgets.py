"""What budgets cost a call, and whether they are exact: run it, it prints a table.

    python tests/bench/bench_budgets.py [--calls 2000]

The other side of the ratio is the same call without the layer; both alternate in one run. CPU time of the process.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from langchain_core.messages import AIMessage

from chainops import Pipeline
from chainops.calls import ModelResult
from chainops.middleware.budgets import Budgets
from chainops.middleware.cost import Cost
from chainops.store.prices import add_price, entry_of
from chainops.testing import model_call

WORKER = Path(__file__).parents[1] / "faults" / "budget_worker.py"
USAGE = {"input_tokens": 100, "output_tokens": 50, "total_tokens": 150}


async def engine(call: object) -> ModelResult:
    return ModelResult(message=AIMessage("ok", usage_metadata=USAGE))


async def timed(pipeline: Pipeline, calls: int, at_once: int) -> tuple[float, float]:
    """CPU and wall microseconds per call."""
    places = asyncio.Semaphore(at_once)

    async def one() -> None:
        async with places:
            await pipeline.run(model_call(engine=engine, params={"max_tokens": 100}))

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*[one() for _ in range(calls)])
    return (time.process_time() - cpu) / calls * 1e6, (time.perf_counter() - wall) / calls * 1e6


async def layers(folder: Path, calls: int) -> None:
    db = folder / "chainops.db"
    add_price(db, "own", entry_of("scripted", input="1", output="2"), currency="USD", source="s", author="a")
    rules = [{"per": [who], "period": "day", "hard": "1000000"} for who in ("user", "tenant")]
    budgets, cost = Budgets(rules, folder / "one.db", prices=db, books=["own"]), Cost(db, books=["own"])
    sides = {
        "nothing": Pipeline([]),
        "cost": Pipeline([cost]),
        "budgets and cost": Pipeline([budgets, cost]),
    }
    for at_once in (1, 100):
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for _ in range(7):
            for name, pipeline in sides.items():
                found[name].append(await timed(pipeline, calls, at_once))
        for name, rows in found.items():
            cpu, wall = (statistics.median(column) for column in zip(*rows, strict=True))
            print(f"{name:18} {at_once:4} at once   {cpu:8.1f} us CPU   {wall:8.1f} us wall a call")
    budgets.close()


def processes(folder: Path) -> None:
    """Four processes with a thousand calls each."""
    began = time.perf_counter()
    words = [sys.executable, str(WORKER), str(folder)]
    running = [subprocess.Popen([*words, str(i), "1000"], stdout=subprocess.PIPE, text=True) for i in range(4)]
    told = [tuple(map(int, each.communicate()[0].split())) for each in running]
    took = time.perf_counter() - began
    budgets = Budgets([], folder / "budgets.db", prices=None)
    accounts = {(a.scope, a.key): a for a in budgets.file.accounts()}
    budgets.close()
    spent, total = accounts["all/year", ""].spent, sum(row[0] for row in told)
    most = max(a.spent for (scope, _), a in accounts.items() if scope == "tenant/year")
    print(f"4 processes x 1,000 calls in {took:.1f} s: charged {spent}, cost {total}, difference {spent - total}")
    print(f"hard budget 600000: at most {most} spent, {sum(row[1] for row in told)} calls refused")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=1000)
    calls = parser.parse_args().calls
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(layers(Path(folder), calls))
        processes(Path(folder))


if __name__ == "__main__":
    main()
