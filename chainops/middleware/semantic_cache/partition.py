"""Which questions may answer each other: those of one tenant, prompt, conversation so far, model and embedder."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chainops.calls import ModelCall
from chainops.identity import identity_of
from chainops.middleware.semantic_cache.guards import plain_form
from chainops.middleware.semantic_cache.score import NEIGHBOURS, Candidate
from chainops.store.cache.codec import Unfaithful
from chainops.store.cache.keys import canonical, digest_of, messages_key
from chainops.store.semantic import SemanticEntry, SemanticFile, VectorIndex

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Partition", "Partitions", "partition_of", "question_of"]

MAX_OPEN = 200
MAX_CHARS = 600
"""Longer messages are no questions for this cache: what an embedder does not read would not count."""


def question_of(call: ModelCall) -> str | None:
    """The text of the last message, where that is a person's, text only and short enough; else None."""
    last = call.messages[-1] if call.messages else None
    if last is None or last.type != "human" or not isinstance(last.content, str) or not last.content.strip():
        return None
    return last.content if len(last.content) <= MAX_CHARS else None


def partition_of(
    call: ModelCall, embedder: str, tenant: Any, scope: Mapping[str, Any], models: Sequence[Any] = ()
) -> str:
    """The key of everything but the question; ``models``: what may answer, where the call's model is only a name.

    Raises:
        Unfaithful: something of it cannot be written down.
    """
    identities = [identity_of(model) for model in models or (call.model,)]
    for one in identities:
        if not one["stable"]:
            raise Unfaithful(f"what the model is: {'; '.join(one.get('unstable', ()))}")
    marks = call.guard.marks
    return digest_of(
        {
            "graph": call.run.graph,
            "node": call.path,
            "tenant": canonical(tenant),
            "scope": {name: canonical(value) for name, value in scope.items()},
            "before": messages_key(call.messages[:-1]),
            "model": identities[0] if len(identities) == 1 else identities,
            "stop": None if call.stop is None else list(call.stop),
            "params": {name: canonical(_plain(value)) for name, value in call.params.items() if value is not None},
            "depends": canonical(dict(marks.depends)) if marks is not None else {},
            "embedder": embedder,
        }
    )


def _plain(value: Any) -> Any:
    return identity_of(value) if not isinstance(value, str | int | float | bool | list | dict | tuple) else value


class Partition:
    """One partition in memory."""

    def __init__(self, dimensions: int) -> None:
        self.index = VectorIndex(dimensions)
        self.entries: dict[int, SemanticEntry] = {}
        self.same: dict[str, int] = {}
        self.last = 0
        self.version: tuple[int, int] | None = None

    def take(self, found: list[SemanticEntry]) -> None:
        """Add entries."""
        import numpy as np

        if found:
            self.index.add_many([e.id for e in found], np.stack([e.vector for e in found]))
            self.entries.update((entry.id, entry) for entry in found)
            self.same.update((plain_form(entry.question), entry.id) for entry in found)
            self.last = found[-1].id

    def near(self, vector: NDArray[np.float32], now: float) -> list[Candidate]:
        """The nearest known questions that have not expired."""
        found = []
        for number, cosine in self.index.search(vector, NEIGHBOURS):
            entry = self.entries[number]
            if entry.expires is None or entry.expires > now:
                found.append(Candidate(number, cosine, entry.answer_vector.astype("float32")))
        return found


class Partitions:
    """The partitions that were used last, kept in step with the file. For one thread at a time."""

    def __init__(self, file: SemanticFile, dimensions: int) -> None:
        self.file, self.dimensions = file, dimensions
        self.lock = threading.Lock()
        self._open: OrderedDict[str, Partition] = OrderedDict()

    def get(self, key: str) -> Partition:
        """The partition as it is in the file now. Blocks: for microseconds where nothing changed."""
        version = self.file.version()
        found = self._open.get(key)
        if found is None or found.version is None or found.version[1] != version[1]:
            found = Partition(self.dimensions)
            found.take(self.file.entries(key))
        elif found.version != version:
            found.take(self.file.entries(key, found.last))
        found.version = version
        self._open[key] = found
        self._open.move_to_end(key)
        while len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)
        return found
