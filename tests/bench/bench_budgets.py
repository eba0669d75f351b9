"""What budgets cost a call, and whether they are exact: run it, it prints a table.

    python tests/bench/bench_budgets.py [--calls 1000] [--json]

The other side of the ratio is the same call without the layer; both alternate in one run. CPU time of the process.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from langchain_core.messages import AIMessage
from repeated import medians

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


async def layers(folder: Path, calls: int) -> dict[str, list[float]]:
    """CPU microseconds of a call, by side and calls at once."""
    db = folder / "chainops.db"
    add_price(db, "own", entry_of("scripted", input="1", output="2"), currency="USD", source="s", author="a")
    rules = [{"per": [who], "period": "day", "hard": "1000000"} for who in ("user", "tenant")]
    budgets, cost = Budgets(rules, folder / "one.db", prices=db, books=["own"]), Cost(db, books=["own"])
    sides = {
        "nothing": Pipeline([]),
        "cost": Pipeline([cost]),
        "budgets and cost": Pipeline([budgets, cost]),
    }
    shown: dict[str, list[float]] = {}
    for at_once in (1, 100):
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for _ in range(7):
            for name, pipeline in sides.items():
                found[name].append(await timed(pipeline, calls, at_once))
        for name, rows in found.items():
            shown[f"{name}, {at_once} at once, us CPU"] = [cpu for cpu, _ in rows]
            shown[f"{name}, {at_once} at once, us wall"] = [wall for _, wall in rows]
    budgets.close()
    return shown


def processes(folder: Path) -> dict[str, float]:
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
    return {
        "4 processes x 1,000 calls, s": took,
        "charged": spent,
        "difference": spent - total,
        "hard budget": 600_000,
        "most spent of a hard budget": most,
        "calls refused": sum(row[1] for row in told),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(layers(Path(folder), options.calls)) | processes(Path(folder))
    if options.json:
        print(json.dumps(found))
        return
    for name, value in medians(found).items():
        print(f"{name:40} {value:12,.1f}")


if __name__ == "__main__":
    main()
