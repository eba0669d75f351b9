"""What a busy neighbour costs: ``ChatLlama`` with two threads, alone and beside a process that wants a core.

``python tests/bench/bench_threads.py [--size 130MB | --model FILE] [--threads 2] [--rounds 7]``. Each round measures,
in turn: threads that give way (as shipped) and threads that do not, each alone and beside one busy process. The figures
are tokens per second beside the neighbour as a share of those of the same round alone. Needs a machine that does
nothing else, with as many cores as threads.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from random_model import SIZES, write_random_model
from repeated import medians

from chainops.engines.llama import ChatLlama

SECONDS = 1.0


class Fixed:
    """In place of the threads that give way."""

    def __init__(self, most: int) -> None:
        self.most = self.now = most

    def measured(self, _rows: int, _seconds: float) -> int:
        return self.most


def opened(path: Path, threads: int, *, fixed: bool) -> ChatLlama:
    # n_kept only keeps the two from sharing one loaded model
    model = ChatLlama(
        model_path=path, n_ctx=640, n_parallel=1, n_threads=threads, n_kept=641 + fixed, probe=False, max_tokens=64
    )
    model.session.token_ids("load it")
    if fixed:
        model.session._worker._threads = Fixed(threads)  # type: ignore[union-attr,assignment]
    return model


def tokens_per_s(model: ChatLlama) -> float:
    stats = model.session.stats
    began, before = time.perf_counter(), stats.generated_tokens
    while time.perf_counter() - began < SECONDS:
        model.invoke(f"{time.perf_counter()}")
    return (stats.generated_tokens - before) / (time.perf_counter() - began)


def beside_a_neighbour(model: ChatLlama) -> float:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
        try:
            time.sleep(0.5)
            return tokens_per_s(model)
        finally:
            neighbour.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="130MB")
    parser.add_argument("--model", type=Path, help="a model file, in place of --size")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    shares: dict[str, list[float]] = {"giving way": [], "fixed": []}
    with tempfile.TemporaryDirectory() as folder:
        path = options.model or write_random_model(Path(folder) / "random.gguf", options.size)
        models = {name: opened(path, options.threads, fixed=name == "fixed") for name in shares}
        for _ in range(options.rounds):
            for name, model in models.items():
                alone = tokens_per_s(model)
                shares[name].append(beside_a_neighbour(model) / alone)
                print(
                    f"{name}: {alone:.1f} tokens/s alone, {shares[name][-1]:.2f} of that beside a neighbour", flush=True
                )
        for model in models.values():
            model.close()
    print(json.dumps(shares) if options.json else f"median share: {medians(shares)}")


if __name__ == "__main__":
    main()
