"""The semantic cache: how fast the nearest question is found, and what a bound on wrong hits leaves of the hits.

    python tests/bench/bench_semantic_cache.py [--questions FILE] [--million]

FILE: labelled questions, CSV (text, category) or JSONL (text, label). Half of them calibrate, the other half tests;
next to this project's score stands the cosine alone, calibrated in the same way.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chainops.engines.embeddings import embedder
from chainops.errors import SetupError
from chainops.middleware.semantic_cache.calibrate import Observation, find_threshold
from chainops.middleware.semantic_cache.labelled import observe, read_labelled
from chainops.store.semantic import VectorIndex

_TOPICS = "order parcel refund invoice card account password delivery shop price loan insurance visa flight hotel train"
_VERBS = "cancel track change pay find open close return book check move compare explain renew repair share"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--million", action="store_true", help="also search among a million vectors (needs 2 GB)")
    given = parser.parse_args()
    real = embedder().embed_sync(
        [
            f"How do I {v} my {t}{x}?"
            for v in _VERBS.split()
            for t in _TOPICS.split()
            for x in ("", " today", " for her")
        ]
    )
    for size in (1_000, 10_000, 100_000, *([1_000_000] if given.million else [])):
        search(real, size)
    if given.questions is None:
        print("labelled questions: not run (give --questions FILE)")
    else:
        bounds(read_labelled(given.questions))


def mixed(real: Any, size: int, chance: Any) -> Any:
    """Real vectors, each moved along the difference of two others."""
    i, j, k = (chance.integers(0, len(real), size) for _ in range(3))
    made = real[i] + chance.uniform(0.2, 0.9, size)[:, None].astype(np.float32) * (real[j] - real[k])
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def search(real: Any, size: int) -> None:
    chance = np.random.default_rng(1)
    index = VectorIndex(real.shape[1])
    for begin in range(0, size, 50_000):
        end = min(begin + 50_000, size)
        index.add_many(range(begin, end), mixed(real, end - begin, chance))
    took, found = [], 0
    for vector in mixed(real, 60, chance):
        began = time.process_time()
        near = index.search(vector, 10)
        took.append(time.process_time() - began)
        if size <= 100_000:
            parts = [index._half[b : b + 20_000].astype(np.float32) @ vector for b in range(0, size, 20_000)]
            found += near[0][1] >= float(np.concatenate(parts)[:size].max()) - 1e-6
    recall = f", nearest found {found / 60:.0%}" if size <= 100_000 else ""
    print(f"{size:>9,} vectors: {statistics.median(took) * 1e3:6.2f} ms CPU{recall}")


def bounds(questions: list[tuple[str, str]]) -> None:
    random.Random(5).shuffle(questions)
    vectors = embedder().embed_sync([text for text, _ in questions])
    half = len(questions) // 2
    for name, look in (("score and guards", observe), ("cosine alone", by_cosine)):
        seen, unseen = look(questions[:half], vectors[:half]), look(questions[half:], vectors[half:])
        for bound in (0.01, 0.02, 0.03, 0.05):
            try:
                threshold = find_threshold(seen, bound).threshold
            except SetupError:
                print(f"{name}, bound {bound:.0%}: no threshold keeps it")
                continue
            hits = [o for o in unseen if o.score is not None and o.score >= threshold]
            wrong = sum(not o.right for o in hits) / max(len(hits), 1)
            rate = len(hits) / len(unseen)
            print(f"{name}, bound {bound:.0%}: {rate:.1%} hits on the unseen half, {wrong:.2%} of them wrong")


def by_cosine(questions: Sequence[tuple[str, str]], vectors: Any) -> list[Observation]:
    order = list(range(len(questions)))
    random.Random(0).shuffle(order)
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    found = []
    for known, asked in (halves, halves[::-1]):
        index = VectorIndex(vectors.shape[1])
        index.add_many(known, vectors[known])
        for i in asked:
            best, cosine = index.search(vectors[i], 1)[0]
            found.append(Observation(cosine, right=questions[best][1] == questions[i][1]))
    return found


if __name__ == "__main__":
    main()
