"""The longest known beginning of a prompt is found, whatever came and went; what is kept stays within its budget."""

from __future__ import annotations

import random

import numpy as np
import pytest

from chainops.engines.llama.kept import KNOWN, LEAST_KEPT, KeptPrefixes
from chainops.engines.llama.prefixes import PrefixTree, common_prefix


def array(*tokens: int) -> np.ndarray:
    return np.array(tokens, np.int32)


def state(size: int = 8) -> np.ndarray:
    return np.zeros(size, np.uint8)


@pytest.mark.parametrize("seed", range(20))
def test_the_tree_finds_what_a_comparison_with_everything_finds(seed: int) -> None:
    rng = random.Random(seed)
    tree: PrefixTree[int] = PrefixTree()
    held: dict[int, tuple[str, np.ndarray]] = {}

    def some() -> np.ndarray:
        if held and rng.random() < 0.6:
            base = rng.choice(list(held.values()))[1]
            base = base[: rng.randrange(0, len(base) + 1)]
        else:
            base = array()
        return np.concatenate((base, array(*(rng.randrange(3) for _ in range(rng.randrange(0, 6))))))

    for number in range(120):
        if held and rng.random() < 0.3:
            gone = rng.choice(list(held))
            del held[gone]
            tree.remove(gone)
        key, tokens = rng.choice("ab"), some()
        tree.add(key, tokens, number)
        held[number] = key, tokens
        key, wanted = rng.choice("ab"), some()
        shared = {one: common_prefix(tokens, wanted) for one, (kind, tokens) in held.items() if kind == key}
        longest = max(shared.values(), default=0)
        size, holders = tree.longest(key, wanted)
        assert size == longest
        if longest:
            assert set(holders) == {one for one, count in shared.items() if count == longest}
    for one in list(held):
        tree.remove(one)
    assert len(tree) == 0
    assert not tree._roots


def test_removing_what_is_not_held_changes_nothing() -> None:
    tree: PrefixTree[str] = PrefixTree()
    tree.add((), array(1, 2), "a")
    tree.remove("b")
    assert tree.longest((), array(1, 2, 3))[0] == 2
    assert tree.longest("other", array(1, 2, 3)) == (0, ())


def test_the_least_recently_used_gives_way_and_what_is_pinned_never() -> None:
    kept = KeptPrefixes(30)
    kept.add((), array(*range(10)), state(), pinned=True)
    kept.add((), array(*range(100, 110)), state())
    kept.add((), array(*range(200, 210)), state())
    assert kept.find((), array(*range(100, 120)))[1] == 10  # now the second is the most recently used
    kept.add((), array(*range(300, 310)), state())
    assert [kept.find((), array(*range(start, start + 20)))[1] for start in (0, 100, 200, 300)] == [10, 10, 0, 10]
    assert kept.size == 30


def test_what_is_known_already_is_not_kept_twice_and_a_longer_one_replaces_its_beginning() -> None:
    kept = KeptPrefixes(1000)
    kept.add((), array(*range(80)), state())
    assert not kept.wants((), array(*range(int(80 / KNOWN))))
    assert kept.wants((), array(*range(100)))
    assert kept.wants("another adapter", array(*range(80)))
    kept.add((), array(*range(100)), state())
    assert (len(kept), kept.size) == (1, 100)


def test_neither_crumbs_nor_what_exceeds_the_budget_is_kept() -> None:
    kept = KeptPrefixes(50)
    assert not kept.wants((), array(*range(LEAST_KEPT - 1)))
    assert not kept.wants((), array(*range(51)))
    kept.add((), array(*range(20)), state(), pinned=True)
    assert not kept.wants((), array(*range(100, 131)))
    kept.add((), array(*range(20, 40)), state(0))  # llama.cpp could not tell it
    assert len(kept) == 1
