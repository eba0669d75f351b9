"""What a process does that shares budgets with others. Usage: budget_worker.py FOLDER SEED CALLS [hold]"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path

from langchain_core.messages import AIMessage

from chainops import Pipeline
from chainops.calls import ModelResult, RunContext
from chainops.errors import LimitExceeded
from chainops.middleware.budgets import Budgets
from chainops.middleware.cost import Cost
from chainops.testing import model_call

RULES = [
    {"per": ["user"], "period": "year", "hard": "1000"},
    {"per": ["tenant"], "period": "year", "hard": "0.6"},
    {"period": "year", "hard": "1000"},
]


def layers(folder: Path) -> tuple[Budgets, Cost]:
    db = folder / "chainops.db"
    return Budgets(RULES, folder / "budgets.db", prices=db, books=["own"]), Cost(db, books=["own"])


async def spend(folder: Path, seed: int, calls: int) -> None:
    """Make calls of random sizes, 20 at once; print what they cost, how many were refused, and the dearest estimate."""
    rng, (budgets, cost) = random.Random(seed), layers(folder)
    total = refused = dearest = 0
    places = asyncio.Semaphore(20)

    async def one(size: int, user: str, tenant: str, fate: float) -> None:
        nonlocal total, refused, dearest

        async def engine(call: object) -> ModelResult:
            await asyncio.sleep(0)
            if fate < 0.05:
                raise RuntimeError("the model is gone")
            usage = {"input_tokens": 5, "output_tokens": size, "total_tokens": size + 5}
            return ModelResult(message=AIMessage("ok", usage_metadata=usage))

        run = RunContext(run_id="r", graph="g", metadata={"user": user, "tenant": tenant})
        call = model_call(run=run, engine=engine, params={"max_tokens": 500})
        async with places:
            try:
                await Pipeline([budgets, cost]).run(call)
            except LimitExceeded:
                refused += 1
            except RuntimeError:
                pass
        notes = call.guard.marks.notes
        dearest = max(dearest, notes["budgets"]["reserved"])
        total += notes.get("cost", {}).get("micro", 0)

    who = [(rng.randint(1, 500), f"u{rng.randint(1, 5)}", rng.choice(("a", "b")), rng.random()) for _ in range(calls)]
    await asyncio.gather(*[one(*each) for each in who])
    budgets.close()
    print(total, refused, dearest)


async def hold(folder: Path) -> None:
    """Reserve, say so, and wait to be killed."""
    budgets, cost = layers(folder)

    async def engine(call: object) -> ModelResult:
        budgets.file.flush()
        print("reserved", flush=True)
        await asyncio.sleep(600)
        raise AssertionError("nobody killed this process")

    run = RunContext(run_id="r", graph="g", metadata={"user": "u", "tenant": "a"})
    await Pipeline([budgets, cost]).run(model_call(run=run, engine=engine, params={"max_tokens": 250_000}))


if __name__ == "__main__":
    if sys.argv[4:] == ["hold"]:
        asyncio.run(hold(Path(sys.argv[1])))
    else:
        asyncio.run(spend(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
