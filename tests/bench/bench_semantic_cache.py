"""The semantic cache: how fast the nearest question is found, and what a bound on wrong hits leaves of the hits.

    python tests/bench/bench_semantic_cache.py [--questions FILE] [--million] [--json]

FILE: labelled questions, CSV (text, category) or JSONL (text, label). Half of them calibrate, the other half tests;
next to this project's score stands the cosine alone, calibrated in the same way, and the cosine with a threshold that
somebody chose, which is how GPTCache and LangChain's semantic caches decide.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from repeated import medians, ratios

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
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    real = embedder().embed_sync(
        [
            f"How do I {v} my {t}{x}?"
            for v in _VERBS.split()
            for t in _TOPICS.split()
            for x in ("", " today", " for her")
        ]
    )
    found: dict[str, Any] = {
        "search": {
            f"{size:,}": search(real, size)
            for size in (1_000, 10_000, 100_000, *([1_000_000] if given.million else []))
        }
    }
    if given.questions is not None:
        found["questions"] = bounds(read_labelled(given.questions))
    if given.json:
        print(json.dumps(found))
        return
    for vectors, row in medians(found["search"]).items():
        recall = f", nearest found {row['recall']:.0%}" if "recall" in row else ""
        print(f"{vectors:>9} vectors: {row['ms']:6.2f} ms CPU{recall}")
    for name, row in found.get("questions", {"labelled questions": None}).items():
        if not row:
            why = "no threshold keeps it" if given.questions else "not run (give --questions FILE)"
            print(f"{name}: {why}")
            continue
        print(f"{name}: {row['hits']:.1%} hits on the unseen half, {row['wrong']:.2%} of them wrong")


def mixed(real: Any, size: int, chance: Any) -> Any:
    """Real vectors, each moved along the difference of two others."""
    i, j, k = (chance.integers(0, len(real), size) for _ in range(3))
    made = real[i] + chance.uniform(0.2, 0.9, size)[:, None].astype(np.float32) * (real[j] - real[k])
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def search(real: Any, size: int) -> dict[str, Any]:
    """CPU of a search, and how often the nearest of all was found; beside all cosines at once (not for the largest)."""
    chance = np.random.default_rng(1)
    index = VectorIndex(real.shape[1])
    for begin in range(0, size, 50_000):
        end = min(begin + 50_000, size)
        index.add_many(range(begin, end), mixed(real, end - begin, chance))
    took, flat, found = [], [], 0
    whole = index._half[:size].astype(np.float32) if size <= 100_000 else None
    for vector in mixed(real, 60, chance):
        began = time.process_time()
        near = index.search(vector, 10)
        took.append(time.process_time() - began)
        if whole is not None:
            began = time.process_time()
            nearest = float((whole @ vector).max())
            flat.append(time.process_time() - began)
            found += near[0][1] >= nearest - 1e-6
    report: dict[str, Any] = {"ms": [seconds * 1e3 for seconds in took]}
    if whole is not None:
        report |= {"recall": found / 60, "all cosines / ours": ratios(flat, took)}
    return report


def bounds(questions: list[tuple[str, str]]) -> dict[str, Any]:
    """Hits and wrong ones on the half that did not calibrate; None where no threshold keeps the bound."""
    random.Random(5).shuffle(questions)
    vectors = embedder().embed_sync([text for text, _ in questions])
    half = len(questions) // 2
    found: dict[str, Any] = {}
    for name, look in (("score and guards", observe), ("cosine alone", by_cosine)):
        seen, unseen = look(questions[:half], vectors[:half]), look(questions[half:], vectors[half:])
        for bound in (0.01, 0.02, 0.03, 0.05):
            try:
                found[f"{name}, bound {bound:.0%}"] = rates(unseen, find_threshold(seen, bound).threshold)
            except SetupError:
                found[f"{name}, bound {bound:.0%}"] = None
    for chosen in (0.7, 0.8, 0.9):
        found[f"cosine alone, threshold {chosen}"] = rates(unseen, chosen)
    return found


def rates(unseen: Sequence[Observation], threshold: float) -> dict[str, float]:
    """Share of questions that are answered, and of those the share with another question's answer."""
    hits = [o for o in unseen if o.score is not None and o.score >= threshold]
    return {"hits": len(hits) / len(unseen), "wrong": sum(not o.right for o in hits) / max(len(hits), 1)}


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
