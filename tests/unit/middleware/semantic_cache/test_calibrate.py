"""Thresholds that keep a bound."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest

from chainops.errors import SetupError
from chainops.middleware.semantic_cache.calibrate import Observation, find_threshold, least_hits, upper_bound
from chainops.middleware.semantic_cache.labelled import observe, read_labelled
from chainops.middleware.semantic_cache.score import NEIGHBOURS, combined

BANKING = Path(__file__).resolve().parents[5] / "shared" / "data" / "banking77" / "train.csv"


@pytest.mark.parametrize(
    ("wrong", "hits", "bound"), [(0, 299, 0.00997), (1, 100, 0.0466), (5, 50, 0.1994), (3, 3, 1.0), (0, 0, 1.0)]
)
def test_the_upper_bound_is_that_of_clopper_and_pearson(wrong: int, hits: int, bound: float) -> None:
    assert upper_bound(wrong, hits) == pytest.approx(bound, rel=0.005)


def observations(n: int, rate: Any, seed: int) -> list[Observation]:
    """Right or wrong by chance, wrong more often where the score is low."""
    chance = random.Random(seed)
    scores = [chance.random() for _ in range(n)]
    return [Observation(score, chance.random() >= rate(score)) for score in scores]


def test_the_bound_is_kept_in_at_least_95_of_100_worlds() -> None:
    def rate(score: float) -> float:
        return 0.1 * (1 - score) ** 1.5

    broken = found = 0
    for seed in range(100):
        try:
            threshold = find_threshold(observations(4000, rate, seed), 0.02).threshold
        except SetupError:
            continue
        found += 1
        steps = [threshold + (1 - threshold) * i / 200 for i in range(200)]
        broken += sum(map(rate, steps)) / len(steps) > 0.02
    assert found > 75 and broken <= 5


def test_too_little_data_is_refused_with_how_much_is_needed() -> None:
    few = [Observation(1.0, True)] * 100 + [Observation(None, False)] * 1000
    with pytest.raises(SetupError, match=f"100 possible hits .* {least_hits(0.01, 0.9875)} are needed") as caught:
        find_threshold(few, 0.01)
    assert caught.value.code == "setup.calibration"


def test_questions_that_are_too_much_alike_have_no_threshold() -> None:
    with pytest.raises(SetupError, match="wrong too often"):
        find_threshold([Observation(i / 2000, i % 5 > 0) for i in range(2000)], 0.01)


def test_neighbours_that_agree_raise_the_score_and_others_lower_it() -> None:
    near = [0.9 - i / 100 for i in range(NEIGHBOURS)]
    all_agree = combined(near, [True] * NEIGHBOURS)
    one_other = combined(near, [True, False, *[True] * (NEIGHBOURS - 2)])
    assert all_agree > one_other
    assert combined([0.9], [True]) == pytest.approx(0.95)


def test_a_file_of_labelled_questions_is_read_or_named_as_wrong(tmp_path: Path) -> None:
    lines = tmp_path / "q.jsonl"
    lines.write_text('{"text": " a ", "label": 1}\n\n{"text": "b", "label": "x"}\n')
    assert read_labelled(lines) == [("a", "1"), ("b", "x")]
    table = tmp_path / "q.csv"
    table.write_text("text,category\na,x\n")
    assert read_labelled(table) == [("a", "x")]
    pairs = [("a", "b", True), ("b", "c", True), ("a", "d", False), ("e", "e", True)]
    lines.write_text("\n".join(json.dumps({"one": x, "other": y, "same": same}) for x, y, same in pairs))
    labels = dict(read_labelled(lines))
    assert labels["a"] == labels["b"] == labels["c"] and len(set(labels.values())) == 3
    lines.write_text('{"one": "a", "other": "b"}\n')
    with pytest.raises(SetupError, match="row 1"):
        read_labelled(lines)
    lines.write_text('{"text": 1}\n')
    with pytest.raises(SetupError, match="row 1"):
        read_labelled(lines)
    lines.write_text("no json\n")
    with pytest.raises(SetupError, match="cannot be read"):
        read_labelled(lines)


@pytest.mark.skipif(
    not BANKING.is_file(), reason="the development data (shared/data/banking77) is not beside the checkout"
)
def test_wrong_hits_on_questions_not_seen_stay_within_the_bound_and_hits_are_more_than_by_cosine(embedder: Any) -> None:
    with BANKING.open(encoding="utf-8", newline="") as file:
        rows = [(row["text"].strip(), row["category"]) for row in csv.DictReader(file)]
    random.Random(3).shuffle(rows)
    rows = rows[:4800]
    vectors = embedder.embed_sync([text for text, _ in rows])
    half = len(rows) // 2
    seen, unseen = (observe(rows[a:b], vectors[a:b]) for a, b in ((0, half), (half, len(rows))))
    found = find_threshold(seen, 0.03)
    hits = [o for o in unseen if o.score is not None and o.score >= found.threshold]
    assert sum(not o.right for o in hits) / len(hits) <= 0.03
    assert len(hits) / len(unseen) > 0.1
