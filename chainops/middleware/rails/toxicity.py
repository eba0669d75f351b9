"""Toxicity and profanity: a stand-in of a word list and a linear head, for want of a classifier."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from chainops.embedding import fits
from chainops.errors import SetupError
from chainops.middleware.rails.jailbreak.head import WEIGHTS, windows
from chainops.middleware.rails.jailbreak.views import plain, views
from chainops.middleware.rails.rail import Rail, Subject
from chainops.middleware.rails.verdict import ALLOW, Place, Policy, Verdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from chainops.embedding import Embedder

__all__ = ["ToxicHead", "Toxicity", "hashed", "load_toxic_head", "words_in"]

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
LONGEST = 3  # words in a phrase of the list


class ToxicHead(NamedTuple):
    """Weights of a logistic regression on the vector of a text, and hashes of words."""

    weights: NDArray[np.float32]
    bias: float
    toxic: NDArray[np.float32]
    harmless: NDArray[np.float32]
    words: frozenset[int]
    flag: float
    block: float
    embedder: str
    card: dict[str, Any]

    @staticmethod
    def features(
        vectors: NDArray[np.float32], toxic: NDArray[np.float32], harmless: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """What the head sees."""
        import numpy as np

        near = np.stack([(vectors @ toxic.T).max(axis=1), (vectors @ harmless.T).max(axis=1)], axis=1)
        return np.concatenate([vectors, near], axis=1, dtype=np.float32)

    def scores(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """The score of each vector, in [0, 1]."""
        import numpy as np

        z = np.clip(self.features(vectors, self.toxic, self.harmless) @ self.weights + self.bias, -30, 30)
        return np.asarray(1 / (1 + np.exp(-z)), dtype=np.float32)


class Toxicity(Rail):
    """A stand-in that finds insults, hate and profanity; the card in its file has its error rates.

    A word of the list counts as profanity and is flagged; the head flags from ``flag`` and blocks from ``block`` on. A
    classifier in a folder of your machine does better: :class:`~chainops.middleware.rails.classifier.Classifier`.

    Args:
        embedder: the one that the weights were made with; None: words only.
        words: look for words of the list.
        profanity: what follows from a word of the list.
    """

    waits: ClassVar[bool] = True
    default_places: ClassVar[tuple[Place, ...]] = ("input", "output")

    def __init__(
        self,
        embedder: Embedder | None,
        name: str = "toxicity",
        *,
        words: bool = True,
        profanity: Policy = "flag",
        flag: float | None = None,
        block: float | None = None,
        weights: Path | None = None,
        **options: Any,
    ) -> None:
        options.setdefault("timeout_s", 30.0)
        super().__init__(name, **options)
        self.embedder, self.words, self.profanity = embedder, words, profanity
        self.head = load_toxic_head(weights or WEIGHTS / "toxicity.npz")
        self.flag = self.head.flag if flag is None else flag
        self.block = self.head.block if block is None else block
        if not 0 <= self.flag <= self.block <= 1 or (embedder is None and not words):
            raise SetupError(
                f"Rail {name!r} has flag={self.flag}, block={self.block}, words={words}",
                hint="0 <= flag <= block <= 1, and words or an embedder.",
                code="setup.rail",
            )

    def describe(self) -> dict[str, Any]:
        """Its thresholds."""
        names = ("flag", "block", "words", "profanity")
        return {**super().describe(), **{n: getattr(self, n) for n in names}}

    async def check(self, subject: Subject) -> Verdict:
        """The head's verdict where it has one, else that of the words."""
        score = await self.score_of(subject.text)
        if score >= self.flag:
            policy: Policy | None = None if score >= self.block else "flag"
            return Verdict("block", f"score {score:.2f}", "toxicity", score=score, policy=policy)
        if self.words:
            found = [w for _, reading in views(subject.text) for w in words_in(reading, self.head.words)]
            if found:
                return Verdict("block", f"{len(found)} words of the list", "profanity", policy=self.profanity)
        return ALLOW

    async def score_of(self, text: str) -> float:
        """The highest score of its windows; 0 without an embedder."""
        parts = windows(plain(text))
        if self.embedder is None or not parts:
            return 0.0
        if not fits(self.embedder, self.head.embedder):
            raise SetupError(
                f"The weights were made with {self.head.embedder}, the embedder is {self.embedder.identity}",
                hint="Train them with this embedder, or use words only.",
                code="setup.rail",
            )
        return float(self.head.scores(await self.embedder.embed(parts)).max())


def hashed(phrase: str) -> int:
    """The number under which a word or phrase of the list is kept."""
    return int.from_bytes(blake2b(phrase.encode(), digest_size=8, person=b"chainops").digest(), "big")


def words_in(text: str, known: frozenset[int]) -> Iterator[str]:
    """Words and phrases of ``text`` that are in the list, plural forms included."""
    words = [match[0].lower() for match in _WORD.finditer(text)]
    for i, word in enumerate(words):
        forms = {word, word.removesuffix("s"), *(" ".join(words[i : i + n]) for n in range(2, LONGEST + 1))}
        if any(hashed(form) in known for form in forms):
            yield word


@lru_cache(maxsize=4)
def load_toxic_head(path: Path) -> ToxicHead:
    """The head in a file that the training script wrote.

    Raises:
        SetupError: ``setup.rail``: the file is missing, or is none.
    """
    import json

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as data:
            return ToxicHead(
                weights=data["weights"].astype(np.float32),
                bias=float(data["bias"]),
                toxic=data["toxic"].astype(np.float32),
                harmless=data["harmless"].astype(np.float32),
                words=frozenset(int(w) for w in data["words"]),
                flag=float(data["flag"]),
                block=float(data["block"]),
                embedder=str(data["embedder"]),
                card=json.loads(str(data["card"])),
            )
    except (OSError, KeyError, ValueError) as error:
        raise SetupError(
            f"{path} has no weights of a rail: {error}",
            hint="Make them with the scripts in recipes/rails_head.",
            code="setup.rail",
        ) from None
