"""A prompt while it is being made shorter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chainops.middleware.compress.counting import Counts
from chainops.middleware.compress.groups import Group, groups_of, kind_of

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

__all__ = ["Cut", "Draft"]


@dataclass(frozen=True, slots=True)
class Cut:
    """Something that a stage left out.

    Args:
        place: index of the message in the prompt as it came.
        what: ``message`` (all of it), ``result`` (of a tool), ``duplicate``, ``sentence``, ``form`` ...
        tokens: how many fewer.
    """

    place: int
    what: str
    tokens: int


class Draft:
    """The messages of one call, and which of them came from where. Belongs to one call and one task.

    Args:
        messages: the prompt as it came.
        counts: counts tokens.
    """

    def __init__(self, messages: Sequence[BaseMessage], counts: Counts) -> None:
        self.given = tuple(messages)
        self.counts = counts
        self.messages = list(messages)
        self.places = list(range(len(self.messages)))
        self.sizes = [counts.message(message) for message in self.messages]
        self.cuts: list[Cut] = []
        self.notes: dict[str, dict[str, Any]] = {}  # what stages say of themselves, for their spans
        self.sources: set[tuple[int, int]] = set()  # what the second place said is left out because the first says it

    @property
    def tokens(self) -> int:
        """Of the whole prompt, without tools."""
        return self.counts.frame[0] + sum(self.sizes)

    def tokens_of(self, count: int) -> int:
        """Of the first ``count`` messages."""
        return sum(self.sizes[:count]) + (self.counts.frame[0] if count else 0)

    def groups(self) -> list[Group]:
        """The groups of what is left; their places are indices into ``messages``."""
        return groups_of(self.messages)

    def last_human(self) -> int:
        """Index of the last message of a person, or -1."""
        return max((i for i, message in enumerate(self.messages) if kind_of(message) == "human"), default=-1)

    def droppable(self) -> list[Group]:
        """What may be left out, oldest first: all but system messages, the last question, and the last group."""
        found, last = self.groups(), self.last_human()
        return [g for g in found[:-1] if g.kind != "system" and last not in g.places]

    def lost(self) -> set[int]:
        """Places that are gone although something was left out elsewhere because they say it."""
        here = set(self.places)
        return {first for first, second in self.sources if first not in here and second in here}

    def drop(self, groups: Iterable[Group], what: str = "message") -> None:
        """Leave ``groups`` out."""
        gone = {place for group in groups for place in group.places}
        self.cuts += [Cut(self.places[i], what, self.sizes[i]) for i in sorted(gone)]
        kept = [i for i in range(len(self.messages)) if i not in gone]
        self.messages = [self.messages[i] for i in kept]
        self.places = [self.places[i] for i in kept]
        self.sizes = [self.sizes[i] for i in kept]

    def replace(self, groups: Sequence[Group], message: BaseMessage, what: str) -> bool:
        """Put ``message`` where the first of ``groups`` begins, and drop them all, if that makes the prompt shorter."""
        size = self.counts.message(message)
        if size >= sum(self.sizes[i] for group in groups for i in group.places):
            return False
        index = groups[0].places[0]
        place = self.places[index]
        before = sum(1 for i in range(index) if not any(i in group.places for group in groups))
        self.drop(groups, what)
        self.messages.insert(before, message)
        self.places.insert(before, place)
        self.sizes.insert(before, size)
        return True

    def insert(self, index: int, message: BaseMessage) -> None:
        """Put ``message`` before another one."""
        self.messages.insert(index, message)
        self.places.insert(index, self.places[index])
        self.sizes.insert(index, self.counts.message(message))

    def put(self, index: int, message: BaseMessage, what: str) -> bool:
        """Put ``message`` in the place of another, if it has fewer tokens."""
        size = self.counts.message(message)
        if size >= self.sizes[index]:
            return False
        self.cuts.append(Cut(self.places[index], what, self.sizes[index] - size))
        self.messages[index], self.sizes[index] = message, size
        return True

    def parts(self) -> dict[str, int]:
        """Tokens of each message, the largest first, by its place in the prompt as it came."""
        sizes = sorted(zip(self.sizes, self.places, self.messages, strict=True), key=lambda row: (-row[0], row[1]))
        return {f"message {place} ({kind_of(message)})": size for size, place, message in sizes}
