"""A radix tree of token sequences: who holds the longest beginning of another one."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from chainops.engines.llama.batch import Tokens

__all__ = ["PrefixTree", "common_prefix"]

Holder = TypeVar("Holder", bound=Hashable)


def common_prefix(one: Tokens, other: Tokens) -> int:
    """How many tokens at the beginning are equal."""
    size = min(len(one), len(other))
    if not size or one[0] != other[0]:
        return 0
    different = one[:size] != other[:size]
    place = int(different.argmax())
    return place if different[place] else size


class _Node(Generic[Holder]):
    """A run of tokens that all holders below have in common, and where they part."""

    __slots__ = ("below", "holders", "tokens", "upper")

    def __init__(self, tokens: Tokens, upper: _Node[Holder] | None) -> None:
        self.tokens, self.upper = tokens, upper
        self.below: dict[int, _Node[Holder]] = {}
        self.holders: dict[Holder, None] = {}


class PrefixTree(Generic[Holder]):
    """Sequences of tokens, each with its holder. What was computed with other adapters lies in a tree of its own.

    Finding a prefix costs one comparison per token of it, however many sequences there are.
    """

    def __init__(self) -> None:
        self._roots: dict[Hashable, _Node[Holder]] = {}
        self._ends: dict[Holder, _Node[Holder]] = {}

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, adapters: Hashable, tokens: Tokens, holder: Holder) -> None:
        """Let ``holder`` hold ``tokens``; it must hold nothing yet."""
        node = self._roots.get(adapters)
        if node is None:
            node = self._roots[adapters] = _Node(tokens[:0], None)
        node.holders[holder] = None
        while len(tokens):
            following = node.below.get(int(tokens[0]))
            if following is None:
                following = node.below[int(tokens[0])] = _Node(tokens.copy(), node)
            size = common_prefix(following.tokens, tokens)
            if size < len(following.tokens):
                following = _split(following, size)
            following.holders[holder] = None
            node, tokens = following, tokens[size:]
        self._ends[holder] = node

    def remove(self, holder: Holder) -> None:
        """Forget what ``holder`` holds, if anything."""
        node = self._ends.pop(holder, None)
        while node is not None:
            del node.holders[holder]
            upper = node.upper
            if upper is not None:
                if not node.holders:
                    del upper.below[int(node.tokens[0])]
            elif not node.holders:
                self._roots = {key: root for key, root in self._roots.items() if root is not node}
            node = upper

    def longest(self, adapters: Hashable, tokens: Tokens) -> tuple[int, Iterable[Holder]]:
        """How many of ``tokens`` are the beginning of something here, and everybody who holds so many."""
        node, depth = self._roots.get(adapters), 0
        if node is None:
            return 0, ()
        while depth < len(tokens):
            following = node.below.get(int(tokens[depth]))
            if following is None:
                break
            size = common_prefix(following.tokens, tokens[depth:])
            node, depth = following, depth + size
            if size < len(following.tokens):
                break
        return (depth, node.holders) if depth else (0, ())

    def clear(self) -> None:
        """Forget all."""
        self._roots.clear()
        self._ends.clear()


def _split(node: _Node[Holder], size: int) -> _Node[Holder]:
    """Cut ``node`` after ``size`` tokens; returns the first part, which takes its place."""
    upper = node.upper
    if upper is None:
        raise ValueError("a root holds no tokens")
    first: _Node[Holder] = _Node(node.tokens[:size], upper)
    upper.below[int(node.tokens[0])] = first
    first.holders = dict(node.holders)
    node.tokens, node.upper = node.tokens[size:], first
    first.below[int(node.tokens[0])] = node
    return first
