"""Vectors of short texts per second: this project's embedder against sentence-transformers on torch, one thread each.

    python tests/bench/bench_embeddings.py [--peer PYTHON]

Both sides read the same weights and take turns, fifty texts each, twenty-one times. sentence-transformers and torch are
not in this project's environment: PYTHON is the interpreter of one that has them (pip install sentence-transformers).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from repeated import ratios

from chainops.engines.embeddings.export import export, weights_folder
from chainops.engines.embeddings.onnx import OnnxModel
from chainops.engines.embeddings.place import default_place, open_folder

ROUNDS, TEXTS = 21, 50
PEER = """
import json, sys, time
import torch
torch.set_num_threads(1)
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu", local_files_only=True)
model.encode(["warm up"])
print("ready", flush=True)
for line in sys.stdin:
    texts = json.loads(line)
    began = time.perf_counter()
    for text in texts:
        model.encode([text], normalize_embeddings=True, show_progress_bar=False)
    print(time.perf_counter() - began, flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", default="", help="a Python with sentence-transformers")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    peer = options.peer
    with tempfile.TemporaryDirectory() as folder:
        sides: dict[str, Any] = {"fp32": OnnxModel(open_folder(default_place()))}
        sides["int8"] = OnnxModel(open_folder(export(Path(folder), int8=True)))
        other = _start(peer) if peer else None
        times: dict[str, list[float]] = {name: [] for name in (*sides, "torch")}
        for turn in range(ROUNDS + 1):
            texts = [f"How do I cancel order {turn}-{i}, please?" for i in range(TEXTS)]
            for name, model in sides.items():
                began = time.perf_counter()
                for text in texts:
                    model.vectors([text])
                times[name].append(time.perf_counter() - began)
            if other is not None:
                times["torch"].append(_ask(other, texts))
        if other is not None:
            other.kill()
    found: dict[str, Any] = {
        name: {"ms": [s / TEXTS * 1e3 for s in seconds[1:]]} for name, seconds in times.items() if seconds
    }
    for name in sides if other is not None else ():
        found[name]["torch / ours"] = ratios(times["torch"][1:], times[name][1:])
    if options.json:
        print(json.dumps(found))
        return
    for name, row in found.items():
        print(f"{name:6} {statistics.median(row['ms']):7.2f} ms per short text")
        if "torch / ours" in row:
            low, middle, high = statistics.quantiles(row["torch / ours"], n=4)
            print(f"       {middle:.2f}x the throughput of torch (quartiles {low:.2f} to {high:.2f}); aim 3x")
    if other is None:
        print("sentence-transformers on torch: not run (give --peer PYTHON)")


def _start(python: str) -> Any:
    command = [python, "-c", PEER, str(weights_folder())]
    env = {"HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
    )
    assert process.stdout is not None
    if process.stdout.readline().strip() != "ready":
        sys.exit(f"{python} has no sentence-transformers that works")
    return process


def _ask(process: Any, texts: list[str]) -> float:
    process.stdin.write(json.dumps(texts) + "\n")
    process.stdin.flush()
    return float(process.stdout.readline())


if __name__ == "__main__":
    main()
