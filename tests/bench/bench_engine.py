"""Many calls at once: ``ChatLlama`` against llama-cpp-python's ``Llama`` behind a lock, as ratios, all in one run.

``python tests/bench/bench_engine.py [--size 26MB] [--rounds 5] [--calls 1 8 32] [--json]``. Models have random weights
and are made on the spot. Every round runs both sides, in turn, on the same prompts, with one thread each; a ratio is
the median over rounds of ChatLlama / lock of that round. Above 1 is better, for time to first token below 1 is. A round
makes twice as many calls as run at once.

Workloads: *unique*: prompts of about 110 tokens that share a few, 32 tokens of answer. *agent*: about 440 tokens of
system prompt that all calls share and 26 of their own, 16 tokens of answer; *cold*: nobody has seen the system prompt;
*warm*: the calls before had it.
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
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from random_model import SIZES, write_random_model

from chainops.engines.llama import ChatLlama
from chainops.engines.llama.request import Ask
from chainops.engines.llama.sampling import Sampling

WINDOW = 640
ANSWER = {"unique": 32, "cold": 16, "warm": 16}
Messages = list[dict[str, str]]
Side = Callable[[Messages, int], AsyncIterator[int]]


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


class Engine:
    """ChatLlama's session; counts the processor time of its decodes."""

    def __init__(self, path: Path, parallel: int, *, flash: bool) -> None:
        self.model = ChatLlama(
            model_path=path, n_ctx=WINDOW, n_parallel=parallel, n_threads=1, probe=False, flash_attn=flash
        )
        self.session = self.model.session
        self.session.token_ids("load it")
        self.decode_s = 0.0
        native = self.session._loaded.native  # type: ignore[union-attr]
        decode = native.decode

        def timed() -> int:
            began = time.thread_time()
            try:
                return decode()
            finally:
                self.decode_s += time.thread_time() - began

        native.decode = timed  # type: ignore[method-assign]

    async def ask(self, messages: Messages, tokens: int) -> AsyncIterator[int]:
        async for event in self.session.stream(Ask(messages=messages, max_tokens=tokens, sampling=Sampling())):
            yield 0 if isinstance(event, str) else tokens if event.reason == "length" else 0


class Locked:
    """What people do with ``Llama``: one call at a time, each stream pumped out of a thread."""

    def __init__(self, path: Path, *, flash: bool) -> None:
        from llama_cpp import Llama

        self.llama = Llama(
            str(path), n_ctx=WINDOW, n_batch=512, n_threads=1, n_threads_batch=1, verbose=False, flash_attn=flash
        )
        self.lock = asyncio.Lock()
        self.decode_s = 0.0

    async def ask(self, messages: Messages, tokens: int) -> AsyncIterator[int]:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def pump() -> None:
            for chunk in self.llama.create_chat_completion(messages, max_tokens=tokens, temperature=0.0, stream=True):
                loop.call_soon_threadsafe(queue.put_nowait, chunk)
            loop.call_soon_threadsafe(queue.put_nowait, None)

        async with self.lock:
            task = asyncio.create_task(asyncio.to_thread(pump))
            while (chunk := await queue.get()) is not None:
                reason = chunk["choices"][0]["finish_reason"]
                if chunk["choices"][0]["delta"].get("content") is not None:
                    yield 0
            await task
        yield tokens if reason == "length" else 0


async def measure(side: Engine | Locked, batch: list[Messages], calls: int, tokens: int) -> Measured:
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

    wall, cpu, decode = time.perf_counter(), time.process_time(), side.decode_s
    await asyncio.gather(*(one(messages) for messages in batch))
    wall, cpu, decode = time.perf_counter() - wall, time.process_time() - cpu, side.decode_s - decode
    return Measured(made / wall, made / cpu, statistics.median(first) * 1000, 1 - decode / cpu)


async def compare(
    path: Path, levels: list[int], rounds: int, workloads: list[str], *, flash: bool
) -> list[dict[str, Any]]:
    engine, locked = Engine(path, max(8, *levels), flash=flash), Locked(path, flash=flash)
    rows = []
    for calls in levels:
        results: dict[str, list[tuple[Measured, Measured]]] = {}
        for number in range(rounds + 1):
            sides = (engine, locked) if number % 2 else (locked, engine)
            for workload in workloads:
                batch = prompts(workload, number * 1000 + calls, max(2 * calls, 4))
                done = {side: await measure(side, batch, calls, ANSWER[workload]) for side in sides}
                if number:  # the first round warms up
                    results.setdefault(workload, []).append((done[engine], done[locked]))
        for workload, pairs in results.items():
            rows.append({"calls": calls, "workload": workload, **summary(pairs)})
            print(line(rows[-1]), flush=True)
    engine.model.close()
    return rows


def summary(pairs: list[tuple[Measured, Measured]]) -> dict[str, float]:
    def ratio(name: str) -> float:
        return round(statistics.median(getattr(ours, name) / getattr(theirs, name) for ours, theirs in pairs), 3)

    return {
        "tokens_per_s": ratio("tokens_per_s"),
        "tokens_per_cpu_s": ratio("tokens_per_cpu_s"),
        "first_token": ratio("first_ms"),
        "python_share": round(statistics.median(ours.python_share for ours, _ in pairs), 4),
        "lock_tokens_per_cpu_s": round(statistics.median(theirs.tokens_per_cpu_s for _, theirs in pairs), 1),
    }


def line(row: dict[str, Any]) -> str:
    return (
        f"{row['calls']:3} calls, {row['workload']:6}: tokens/s {row['tokens_per_s']:.2f}x, "
        f"per CPU second {row['tokens_per_cpu_s']:.2f}x, first token after {row['first_token']:.2f}x the time, "
        f"Python {row['python_share']:.1%} (lock: {row['lock_tokens_per_cpu_s']:.0f} tokens per CPU second)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="26MB")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--workloads", nargs="+", choices=list(ANSWER), default=list(ANSWER))
    parser.add_argument("--flash", action="store_true", help="flash attention, on both sides")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = write_random_model(Path(folder) / "random.gguf", options.size)
        print(f"{path.stat().st_size / 1e6:.1f} MB, {options.rounds} rounds, calls at once: {options.calls}")
        rows = asyncio.run(compare(path, options.calls, options.rounds, options.workloads, flash=options.flash))
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
