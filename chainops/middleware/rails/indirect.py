"""Instructions to the assistant that stand where none belong: in tool results and documents."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from chainops.embedding import fits
from chainops.errors import SetupError
from chainops.middleware.rails.jailbreak.head import WEIGHTS, Head, load_head
from chainops.middleware.rails.jailbreak.rail import Jailbreak
from chainops.middleware.rails.jailbreak.views import views
from chainops.middleware.rails.rail import Rail, Subject
from chainops.middleware.rails.verdict import ALLOW, Place, Verdict

if TYPE_CHECKING:
    from chainops.embedding import Embedder

__all__ = ["IndirectInjection", "sentences"]

MOST = 120  # sentences of one text that are embedded; of a longer one they are spread evenly
_SENTENCE = re.compile(r"(?<=[.!?。！？])[\"'”’)\]]*\s+|\n+")


class IndirectInjection(Rail):
    """Finds what tells the assistant to do something, in texts that should only inform.

    Two judges: the jailbreak rail on the whole text, and a head of its own on each sentence. A sentence that tells
    somebody what to do is ordinary in a manual; therefore the second flags, and blocks only above ``block``.

    Args:
        embedder: the one that the weights were made with.
        flag, block: scores of sentences; None: the calibrated ones.
    """

    waits: ClassVar[bool] = True
    default_places: ClassVar[tuple[Place, ...]] = ("tool_result", "retrieval")

    def __init__(
        self,
        embedder: Embedder,
        name: str = "indirect_injection",
        *,
        flag: float | None = None,
        block: float | None = None,
        weights: Path | None = None,
        **options: Any,
    ) -> None:
        options.setdefault("timeout_s", 30.0)
        super().__init__(name, **options)
        self.embedder = embedder
        self.head: Head = load_head(weights or WEIGHTS / "indirect.npz")
        self.flag = self.head.flag if flag is None else flag
        self.block = self.head.block if block is None else block
        if not 0 <= self.flag <= self.block <= 1:
            raise SetupError(
                f"Rail {name!r} has flag={self.flag}, block={self.block}",
                hint="0 <= flag <= block <= 1",
                code="setup.rail",
            )
        self._jailbreak = Jailbreak(embedder, name, turns=1, **options)

    def describe(self) -> dict[str, Any]:
        """Its thresholds, and which embedder."""
        return {**super().describe(), "flag": self.flag, "block": self.block, "embedder": self.embedder.identity}

    async def check(self, subject: Subject) -> Verdict:
        """The stronger of both verdicts."""
        whole = await self._jailbreak.check(subject)
        if whole.decision == "block" and whole.policy is None:
            return replace(whole, category="indirect_injection")
        score, sentence = await self.score(subject.text)
        if score < self.flag:
            return whole if whole is ALLOW else replace(whole, category="indirect_injection")
        reason = f"score {score:.2f}: it tells the reader what to do"
        policy = None if score >= self.block else "flag"
        details = {"sentence": len(sentence)}
        return Verdict("block", reason, "indirect_injection", score=score, policy=policy, details=details)  # type: ignore[arg-type]

    async def score(self, text: str) -> tuple[float, str]:
        """The highest score of a sentence, and the sentence."""
        parts = [part for _, reading in views(text) for part in sentences(reading)]
        if not parts:
            return 0.0, ""
        parts = parts[:: -(-len(parts) // MOST)]
        if not fits(self.embedder, self.head.embedder):
            raise SetupError(
                f"The weights were made with {self.head.embedder}, the embedder is {self.embedder.identity}",
                hint="Train them with this embedder, or use that one.",
                code="setup.rail",
            )
        scores = self.head.scores(await self.embedder.embed(parts), parts)
        at = int(scores.argmax())
        return float(scores[at]), parts[at]


def sentences(text: str) -> list[str]:
    """``text`` by sentences and lines, long ones cut into pieces of 60 words."""
    found: list[str] = []
    for part in _SENTENCE.split(text):
        words = part.split()
        found += [" ".join(words[i : i + 60]) for i in range(0, len(words), 60)]
    return [part for part in found if len(part) > 3]
