"""What each device of the local model's scheduler saves, beside going without it.

``python tests/bench/bench_engine_parts.py [--rounds 7] [--json]``. Both sides of a ratio alternate in one run, in
processor time; a ratio is the median over the rounds of without / with, so above 1 is a gain.

- *greedy*: the likeliest tokens of 16 rows of 152,000 logits: one argmax of numpy / llama.cpp's sampler for each row.
- *grammar*: the chosen token asked / the whole vocabulary asked, 152,000 tokens.
- *disk*: a prefix of 440 tokens read from a file and brought back / computed, 26 MB.
- *guesses*: forced tool calls of the shipped model with ``n_draft=8`` / without; *steps* counts decodes.
- *literals*: the same of a model of 130 MB, and calls in which everything but one word is given.
- *batches*: 16 unique prompts in partitioned cells, answers and prompts in batches of their own / together, 26 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench_engine import measure, prompts, words
from engine_sides import Engine
from random_model import write_random_model

from chainops.engines.llama import ChatLlama
from chainops.engines.llama.context import ContextOptions
from chainops.engines.llama.library import schema_grammar
from chainops.engines.llama.native import Native
from chainops.engines.llama.request import Ask
from chainops.engines.llama.sampling import Sampler, Sampling

TINY = Path(__file__).parents[2] / "recipes/tiny_model/support-desk-tiny.gguf"
ROWS, WORDS, REPEAT = 16, 152_000, 20
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
    "required": ["name"],
}
Ratios = dict[str, list[float]]


class Spent:
    """Processor seconds of what stands inside."""

    s = 0.0

    def __enter__(self) -> Spent:
        self._began = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.s = time.process_time() - self._began


def sampling(folder: Path, rounds: int, found: Ratios) -> None:
    """*greedy* and *grammar*."""
    native = Native(
        write_random_model(folder / "wordy.gguf", "", words=WORDS), ContextOptions(n_ctx=64, n_parallel=ROWS)
    )
    lib = native.lib
    for row in range(ROWS):
        native.batch.add_one(100 + row, 0, row)
    native.decode()
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    lib.llama_sampler_chain_add(chain, lib.llama_sampler_init_greedy())
    sampler = Sampler(native, Sampling(), schema_grammar(json.dumps(SCHEMA)))
    token = sampler._choose(0, constrained=True)
    for _ in range(rounds):
        with Spent() as ours:
            for _ in range(REPEAT):
                native.all_logits().argmax(axis=1).tolist()
        with Spent() as theirs:
            for _ in range(REPEAT):
                [native.sample(chain, row) for row in range(ROWS)]
        found.setdefault("greedy", []).append(theirs.s / ours.s)
        with Spent() as one:
            for _ in range(50 * REPEAT):
                sampler._allowed(token)
        with Spent() as whole:
            for _ in range(REPEAT):
                sampler._choose(0, constrained=True)
        found.setdefault("grammar", []).append(50 * whole.s / one.s)
    sampler.close()
    lib.llama_sampler_free(chain)
    native.close()


def disk(folder: Path, rounds: int, found: Ratios) -> None:
    path, saved = write_random_model(folder / "random.gguf", "26MB"), folder / "prefixes"
    options = {"model_path": path, "probe": False, "n_ctx": 640, "n_parallel": 1, "n_threads": 1, "max_tokens": 1}
    for number in range(rounds):
        model = ChatLlama(**options)
        model.session.token_ids("load it")
        talk = [("system", words(f"d {number}", 420)), ("user", "one")]
        with Spent() as cold:
            model.invoke(talk)
        model.save_prefixes(saved)
        model.close()
        model = ChatLlama(**options)
        model.session.token_ids("load it")
        with Spent() as warm:
            model.load_prefixes(saved)
            model.invoke(talk)
        model.close()
        found.setdefault("disk", []).append(cold.s / warm.s)


def guesses(folder: Path, rounds: int, found: Ratios) -> None:
    lines = map(json.loads, TINY.with_name("heldout.jsonl").read_text().splitlines())
    with_and_without("guesses", TINY, [sample for sample in lines if sample["tools"]][:20], rounds, found)
    drinks = {"type": "object", "properties": {"drink": {"enum": ["tea", "coffee"]}}, "required": ["drink"]}
    tool = {"type": "function", "function": {"name": "order_a_drink", "parameters": drinks}}
    samples = [{"messages": [{"role": "user", "content": words(f"g {n}", 20)}], "tools": [tool]} for n in range(2)]
    with_and_without("literals", write_random_model(folder / "large.gguf", "130MB"), samples, rounds, found)


def with_and_without(name: str, path: Path, samples: list[dict[str, Any]], rounds: int, found: Ratios) -> None:
    sides = {
        side: ChatLlama(model_path=path, probe=False, n_ctx=512, n_parallel=1, n_threads=1, n_draft=size)
        for side, size in (("with", 8), ("without", 0))
    }

    def ask(model: ChatLlama) -> int:
        before = model.session.stats.steps
        for sample in samples:
            for _ in model.session.stream_sync(Ask(messages=sample["messages"], tools=sample["tools"], forced="any")):
                pass
        return model.session.stats.steps - before

    for model in sides.values():
        ask(model)
    for _ in range(rounds):
        with Spent() as guessing:
            few = ask(sides["with"])
        with Spent() as plain:
            many = ask(sides["without"])
        found.setdefault(name, []).append(plain.s / guessing.s)
        found.setdefault(f"{name}, steps", []).append(many / few)
    for model in sides.values():
        model.close()


def batches(folder: Path, rounds: int, found: Ratios) -> None:
    path = folder / "random.gguf"
    # n_kept only keeps the two from sharing one loaded model
    apart, together = (Engine(path, ROWS, "partitioned", flash=False, n_kept=size) for size in (10_000, 10_001))
    planner = together.session._worker._planner  # type: ignore[union-attr]
    native = planner._native
    mixed = dataclasses.replace(native.options, unified=True)
    planner._native = SimpleNamespace(batch=native.batch, options=mixed, can_share=native.can_share)  # type: ignore[assignment]
    for number in range(rounds):
        batch = prompts("unique", number, ROWS)
        done = [asyncio.run(measure(side, batch, ROWS, 32)).tokens_per_cpu_s for side in (apart, together)]
        found.setdefault("batches", []).append(done[0] / done[1])
    apart.close()
    together.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found: Ratios = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sampling(folder, options.rounds, found)
        disk(folder, options.rounds, found)
        guesses(folder, options.rounds, found)
        batches(folder, options.rounds, found)
    for name, values in found.items():
        print(f"{name}: {statistics.median(values):.2f}x ({min(values):.2f} to {max(values):.2f})", file=sys.stderr)
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
