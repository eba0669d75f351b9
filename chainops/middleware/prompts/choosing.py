"""Which examples of a prompt are most like what it is asked now."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chainops.middleware.prompts.content import FewShot
from chainops.middleware.prompts.slots import AnyPrompt
from chainops.middleware.prompts.template import CompiledPrompt
from chainops.store.canonical import canonical, fingerprint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from chainops.embedding import Embedder

__all__ = ["ExampleChooser"]

MAX_KEPT = 200


class ExampleChooser:
    """Chooses examples by the cosine of their vectors with that of the variable they are compared with.

    The vectors of the examples of a prompt are made once and kept, for the last two hundred sets of examples.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self._lock = threading.Lock()

    async def choose(self, prompt: AnyPrompt, values: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """The numbers of the examples to use, by prompt: the most like last, so that it stands next to the question.

        A variable that is missing or is no text chooses nothing; rendering then says what is wrong with it.
        """
        return {each.name: await self._choose(each, values) for each in prompt.choosers}

    async def _choose(self, prompt: CompiledPrompt, values: Mapping[str, Any]) -> tuple[int, ...]:
        few = prompt.content.few_shot
        text = values.get(few.like) if few is not None else None
        if few is None or few.k is None or not isinstance(text, str):
            return ()
        examples = await self._examples(prompt.sha256, few)
        asked = await self.embedder.embed([text])
        likeness = (examples @ asked[0]).tolist()
        best = sorted(range(len(likeness)), key=lambda i: (-likeness[i], i))[: few.k]
        return tuple(reversed(best))

    async def _examples(self, sha256: str, few: FewShot) -> NDArray[np.float32]:
        texts = [str(example[few.key]) for example in few.examples]
        key = f"{self.embedder.identity} {sha256 or fingerprint(canonical(texts))}"
        found = self._vectors.get(key)
        if found is None:
            found = await self.embedder.embed(texts)
            with self._lock:
                while len(self._vectors) >= MAX_KEPT:
                    del self._vectors[next(iter(self._vectors))]
                self._vectors[key] = found
        return found
