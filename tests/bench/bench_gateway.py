"""What routing, retries and limits cost on the good path, beside LiteLLM's Router; and what they are for.

``python tests/bench/bench_gateway.py [--rounds 15] [--peer PYTHON] [--json]``

* a router decision (rules, difficulty from words, plan) for a new question, in microseconds, and again for a known one
* limits + route + retry around a model call that does nothing, less the same call without them, CPU microseconds
* LiteLLM's ``Router.acompletion`` with a mocked answer / our three layers with an answer that does nothing. LiteLLM
  runs in an environment of its own: ``--peer`` is its Python; without it the row says that it was not run
* 2,000 calls, 50 at a time, of two deployments one of which fails 30 % of its calls: share of calls that were answered
  within their deadline of 10 s
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import time
from typing import Any

from langchain_core.messages import AIMessage
from repeated import Spent, medians, ratios

import chainops
from chainops import Pipeline
from chainops.calls import ModelResult, RunContext
from chainops.gateway import Alias, Deployment, Gateway, RouteRule
from chainops.middleware.limits import LimitRule, Limits
from chainops.middleware.retry import Retry
from chainops.middleware.route import Route
from chainops.middleware.route.decide import Decider
from chainops.middleware.route.exemplars import EASY, HARD
from chainops.testing import ScriptedModel, model_call

CALLS = 1000
PEER = """
import asyncio, sys, time, json
from litellm import Router
names = ["a", "b"]
params = {"api_key": "x", "mock_response": "ok"}
models = [{"model_name": "chat", "litellm_params": {"model": "openai/" + n, **params}} for n in names]
router = Router(model_list=models, num_retries=2)
async def main():
    messages = [{"role": "user", "content": "What is our leave policy?"}]
    for _ in range(30): await router.acompletion(model="chat", messages=messages)
    found = []
    for _ in range(int(sys.argv[1])):
        t = time.process_time()
        for _ in range(50): await router.acompletion(model="chat", messages=messages)
        found.append((time.process_time() - t) / 50)
    print("RESULT " + json.dumps(found))
asyncio.run(main())
"""


class Still:
    """An engine that answers at once, in place of a deployment's model."""

    async def __call__(self, call: Any) -> ModelResult:
        return ModelResult(message=AIMessage("ok"))


def gateway() -> Gateway:
    ones = [Deployment(name, ScriptedModel(model_name=name)) for name in ("a", "b")]
    for one in ones:
        one.engine.engine = Still()
    rules = (RouteRule("b", matches=r"(?i)\b(contract|legal)\b"), RouteRule("a", node="bulk/*"))
    return Gateway(ones, [Alias("chat", tiers=("a", "b"), rules=rules)])


async def decision_us(rounds: int) -> tuple[list[float], list[float]]:
    new, known = [], []
    for round_ in range(rounds):
        decider = Decider(gateway())
        calls = [model_call(f"{text} ({round_} {i})", name="chat") for i in range(10) for text in (*EASY, *HARD)]
        for into in (new, known):
            began = time.process_time()
            for call in calls:
                await decider.decide("chat", call)
            into.append((time.process_time() - began) / len(calls) * 1e6)
    return new, known


async def layers_us(rounds: int) -> dict[str, list[float]]:
    rules = [LimitRule(name="user", per=("user",), requests=1e9, tokens=1e12), LimitRule(name="all", concurrent=1000)]
    layers, bare = Pipeline([Limits(rules), Route(gateway()), Retry()]).chain("model"), Pipeline([]).chain("model")
    found: dict[str, list[float]] = {"cpu": [], "wall": []}
    for _ in range(rounds):
        took = {}
        for name, chain in (("bare", bare), ("layers", layers)):
            calls = [model_call("What is our leave policy?", name="chat", engine=Still()) for _ in range(CALLS)]
            with Spent() as took[name]:
                for call in calls:
                    await chain(call)
        found["cpu"].append((took["layers"].cpu - took["bare"].cpu) / CALLS * 1e6)
        found["wall"].append((took["layers"].wall - took["bare"].wall) / CALLS * 1e6)
    return found


async def survived(calls: int) -> float:
    chance = random.Random(1)

    class Flaky:
        def __init__(self, failing: float) -> None:
            self.failing = failing

        async def __call__(self, call: Any) -> ModelResult:
            await asyncio.sleep(0.002)
            if chance.random() < self.failing:
                raise ConnectionError("cut")
            return ModelResult(message=AIMessage("ok"))

    ones = [Deployment(name, ScriptedModel(model_name=name)) for name in ("flaky", "good")]
    for one, failing in zip(ones, (0.3, 0.0), strict=True):
        one.engine.engine = Flaky(failing)
    made = Gateway(ones, [Alias("chat", deployments=("flaky", "good"), strategy="weighted")])
    ask = Pipeline([Route(made), Retry(3, first_s=0.01)]).around_model(Still())
    gate, answered = asyncio.Semaphore(50), 0

    async def one(number: int) -> None:
        nonlocal answered
        async with gate:
            call = model_call(name="chat", model=chainops.model("chat"), run=RunContext(run_id=str(number)))
            call.due_in(10)
            await ask(call)
            answered += (call.remaining_s() or 0) > 0

    await asyncio.gather(*(one(i) for i in range(calls)), return_exceptions=True)
    return answered / calls


def peer_us(python: str, rounds: int) -> list[float] | None:
    if not python:
        return None
    offline = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": ""}
    command = [python, "-c", PEER, str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=offline)
    line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), "")
    return [seconds * 1e6 for seconds in json.loads(line[7:])] if line else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--peer", default="")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    new, known = asyncio.run(decision_us(options.rounds))
    layers = asyncio.run(layers_us(options.rounds))
    peer = peer_us(options.peer, options.rounds)
    report = {
        "decision_us, new question": new,
        "decision_us, known question": known,
        "limits + route + retry, us": layers["cpu"],
        "limits + route + retry, us wall": layers["wall"],
        "LiteLLM Router, us": peer,
        "LiteLLM / ours": None if peer is None else ratios(peer, layers["cpu"]),
        "answered in time, 30 % of one deployment failing": asyncio.run(survived(2000)),
    }
    if options.json:
        print(json.dumps(report))
        return
    for name, value in medians(report).items():
        print(f"{name:50} {'not run' if value is None else f'{value:.4g}'}")


if __name__ == "__main__":
    main()
