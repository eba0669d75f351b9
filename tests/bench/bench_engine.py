"""Many calls at once: ``ChatLlama`` against a lock around ``Llama`` and against servers, as ratios, all in one
run.

``python tests/bench/bench_engine.py [--size 26MB | --model FILE] [--rounds 3] [--calls 1 4 8 16 32] [--native
PROGRAM] [--python-server]``. Models have random weights and are made on the spot. Every round runs all sides, in
turn, on the same prompts, with one thread each; a ratio is the median over rounds of side / lock of that round.
Above 1 is better; for the time to the first token below 1 is. A round makes twice as many calls as run at once.

Workloads: *unique*: prompts of about 110 tokens that share a few, 32 tokens of answer. *cold* and *warm*: an agent,
about 440 tokens of system prompt that all calls share and 26 of their own, 16 tokens of answer; *cold*: nobody has
seen the system prompt; *warm*: the calls before had it.

Sides: ``unified`` and ``partitioned`` (the two layouts of ``ChatLlama``), ``lock`` (``Llama`` with its defaults;
with ``--flash`` another one, ``lock flash``); ``native`` and ``native kvu``:
the ``llama-server`` of ``--native`` (``llama_server.py`` builds it), in its two layouts, with as many slots;
``python server``: ``llama_cpp.server``, if asked for; and each ``--server NAME=COMMAND``: a program that serves
OpenAI's HTTP interface, where ``{model}``, ``{port}``, ``{calls}``, ``{cells}`` and ``{window}`` are filled in.
``bench_engine_bars.py`` measures what the project promises.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import string
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine_sides import Messages, Side, open_sides
from random_model import SIZES, write_random_model

ANSWER = {"unique": 32, "cold": 16, "warm": 16}


@dataclass(frozen=True)
class Measured:
    """Of one round on one side."""

    tokens_per_s: float
    tokens_per_cpu_s: float
    first_ms: float
    python_share: float


def words(seed: str, size: int) -> str:
    rng = random.Random(seed)
    return "".join(rng.choice(string.ascii_lowercase + "   ") for _ in range(size))


def prompts(workload: str, round_number: int, count: int) -> list[Messages]:
    if workload == "unique":
        return [[{"role": "user", "content": words(f"u {round_number} {n}", 85)}] for n in range(count)]
    prefix = words(f"s {round_number}", 420)
    return [
        [
            {"role": "system", "content": prefix},
            {"role": "user", "content": words(f"{workload} {round_number} {n}", 12)},
        ]
        for n in range(count)
    ]


async def measure(side: Side, batch: list[Messages], calls: int, tokens: int) -> Measured:
    gate = asyncio.Semaphore(calls)
    first: list[float] = []
    made = 0

    async def one(messages: Messages) -> None:
        nonlocal made
        async with gate:
            began, seen = time.perf_counter(), False
            async for count in side.ask(messages, tokens):
                if not seen:
                    seen = True
                    first.append(time.perf_counter() - began)
                made += count

    wall, cpu, decode = time.perf_counter(), side.cpu_s(), side.decode_s
    await asyncio.gather(*(one(messages) for messages in batch))
    wall, cpu, decode = time.perf_counter() - wall, side.cpu_s() - cpu, side.decode_s - decode
    if made < 0.9 * tokens * len(batch):
        raise SystemExit(f"{made} tokens of {tokens * len(batch)} were generated: answers end too early to compare")
    return Measured(made / wall, made / max(cpu, 1e-9), statistics.median(first) * 1000, 1 - decode / max(cpu, 1e-9))


async def compare(sides: dict[str, Side], levels: list[int], rounds: int, workloads: list[str]) -> list[dict[str, Any]]:
    rows = []
    names = list(sides)
    for calls in levels:
        results: dict[str, list[dict[str, Measured]]] = {}
        for number in range(rounds + 1):
            turn = names[number % len(names) :] + names[: number % len(names)]
            for workload in workloads:
                batch = prompts(workload, number * 1000 + calls, max(2 * calls, 4))
                done = {name: await measure(sides[name], batch, calls, ANSWER[workload]) for name in turn}
                if number:  # the first round warms up
                    results.setdefault(workload, []).append(done)
        for workload, measured in results.items():
            for name in names:
                rows.append({"calls": calls, "workload": workload, "side": name, **summary(name, measured)})
                print(line(rows[-1]), flush=True)
    return rows


def summary(name: str, rounds: list[dict[str, Measured]]) -> dict[str, float]:
    def median(values: Any) -> float:
        return round(float(statistics.median(values)), 4)

    fields = ("tokens_per_s", "tokens_per_cpu_s", "first_ms")
    ratios = {f"{f}_x": median(getattr(done[name], f) / getattr(done["lock"], f) for done in rounds) for f in fields}
    absolute = {field: median(getattr(done[name], field) for done in rounds) for field in (*fields, "python_share")}
    return {**ratios, **absolute}


def line(row: dict[str, Any]) -> str:
    share = f", Python {row['python_share']:.1%}" if row["side"] in ("unified", "partitioned") else ""
    return (
        f"{row['calls']:3} calls, {row['workload']:6}, {row['side']:12}: tokens/s {row['tokens_per_s_x']:.2f}x "
        f"({row['tokens_per_s']:.0f}), per CPU second {row['tokens_per_cpu_s_x']:.2f}x, "
        f"first token {row['first_ms_x']:.2f}x ({row['first_ms']:.0f} ms){share}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="26MB")
    parser.add_argument("--model", type=Path, help="a model file, in place of --size")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 4, 8, 16, 32])
    parser.add_argument("--workloads", nargs="+", choices=list(ANSWER), default=list(ANSWER))
    parser.add_argument("--layouts", nargs="+", default=["unified", "partitioned"])
    parser.add_argument("--server", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--native", type=Path, metavar="PROGRAM", help="llama-server")
    parser.add_argument("--python-server", action="store_true", help="llama_cpp.server, too")
    parser.add_argument("--flash", action="store_true", help="flash attention for ChatLlama; a lock with it")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    most = max(8, *options.calls)
    with tempfile.TemporaryDirectory() as folder:
        path = options.model or write_random_model(Path(folder) / "random.gguf", options.size)
        print(f"{path.stat().st_size / 1e6:.1f} MB, {options.rounds} rounds, calls at once: {options.calls}")
        sides = open_sides(
            path,
            most,
            layouts=options.layouts,
            servers=options.server,
            native=options.native,
            python_server=options.python_server,
            flash=options.flash,
        )
        try:
            rows = asyncio.run(compare(sides, options.calls, options.rounds, options.workloads))
        finally:
            for side in sides.values():
                side.close()
    if options.json:
        print(json.dumps({f"{row['calls']} {row['workload']} {row['side']}": row for row in rows}))


if __name__ == "__main__":
    main()
