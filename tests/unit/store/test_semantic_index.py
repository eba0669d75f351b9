"""The nearest of many vectors."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chainops.store.semantic import VectorIndex


def vectors(n: int, dimensions: int = 96, seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).standard_normal((n, dimensions)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def test_the_nearest_is_found_among_thousands() -> None:
    known = vectors(5000)
    index = VectorIndex(96)
    index.add_many(range(5000), known)
    noise = vectors(200, seed=1)
    asked = known[:200] + 0.6 * noise
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    exact = (asked @ known.astype(np.float16).astype(np.float32).T).argmax(1)
    found = [index.search(vector, 10) for vector in asked]
    assert sum(near[0][0] == best for near, best in zip(found, exact, strict=True)) >= 198
    assert all(a[1] >= b[1] for near in found for a, b in pairwise(near))


def test_cosines_are_those_of_half_precision() -> None:
    known = vectors(20)
    index = VectorIndex(96)
    index.add_many(range(20), known)
    number, cosine = index.search(known[7], 1)[0]
    assert number == 7 and abs(cosine - 1) < 2e-3


def test_an_empty_index_knows_nothing() -> None:
    assert VectorIndex(96).search(vectors(1)[0]) == []


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("ad"), st.integers(0, 30)), max_size=80))
def test_any_history_of_adding_and_removing_leaves_exactly_what_is_there(history: list[tuple[str, int]]) -> None:
    known = vectors(31)
    index, there = VectorIndex(96), set[int]()
    for what, number in history:
        if what == "a":
            index.add(number, known[number])
            there.add(number)
        else:
            assert index.remove(number) == (number in there)
            there.discard(number)
    assert len(index) == len(there) and all(number in index for number in there)
    for number in there:
        assert index.search(known[number], 1)[0][0] == number
    assert {n for n, _ in index.search(known[0], 100)} == there
