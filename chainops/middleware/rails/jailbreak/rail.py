"""The jailbreak rail: readings of a text, in windows, through the head; many-shot; several turns of a thread."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from chainops.embedding import fits
from chainops.errors import SetupError
from chainops.middleware.rails.jailbreak.head import WEIGHTS, Head, load_head, windows
from chainops.middleware.rails.jailbreak.many_shot import turns_within
from chainops.middleware.rails.jailbreak.signs import SIGNS, signs
from chainops.middleware.rails.jailbreak.threads import Threads
from chainops.middleware.rails.jailbreak.views import views
from chainops.middleware.rails.rail import Rail, Subject
from chainops.middleware.rails.verdict import ALLOW, Place, Policy, Verdict

if TYPE_CHECKING:
    from chainops.embedding import Embedder

__all__ = ["Jailbreak", "Reading"]

MOST = 48  # windows of one text that are embedded; of a longer one those with signs, and the rest spread evenly


class Reading(NamedTuple):
    """The highest score of a text, and the reading and window that have it."""

    score: float
    view: str
    window: str


class Jailbreak(Rail):
    """Finds attempts to talk a model out of its instructions, offline.

    A text is read without disguises and decoded; each reading is cut into windows, embedded, and scored by a linear
    head. From ``block`` on it is blocked, from ``flag`` on flagged; between the two a ``second`` rail may decide.
    Texts in which many exchanges are written out are blocked as many-shot attacks.

    Args:
        embedder: the one that the weights were made with.
        flag, block: scores in [0, 1]; None: the calibrated ones of the weights.
        weights: a file of the training script.
        many_shot: exchanges within one message from which on it is blocked.
        second: asked about borderline texts, for example NeMo's ``self check input``; its verdict counts.
        turns: the last turns of a person that are scored together, against attacks in pieces; 1: each alone. A score is
            kept per thread as well: from twice ``block`` on, a turn is flagged though none alone was.

    Raises:
        SetupError: ``setup.rail``: thresholds that are none, or weights of another embedder.
    """

    waits: ClassVar[bool] = True
    default_places: ClassVar[tuple[Place, ...]] = ("input",)

    def __init__(
        self,
        embedder: Embedder,
        name: str = "jailbreak",
        *,
        flag: float | None = None,
        block: float | None = None,
        weights: Path | None = None,
        many_shot: int = 10,
        second: Rail | None = None,
        turns: int = 4,
        **options: Any,
    ) -> None:
        options.setdefault("timeout_s", 30.0)
        super().__init__(name, **options)
        self.embedder, self.second, self.many_shot, self.turns = embedder, second, many_shot, turns
        self._threads = Threads(turns)
        self.head: Head = load_head(weights or WEIGHTS / "jailbreak.npz")
        self.flag = self.head.flag if flag is None else flag
        self.block = self.head.block if block is None else block
        self.local = turns < 2  # type: ignore[misc]  # of this rail: with turns it depends on the conversation
        if not 0 <= self.flag <= self.block <= 1 or many_shot < 2 or turns < 1:
            raise SetupError(
                f"Rail {name!r} has flag={self.flag}, block={self.block}, many_shot={many_shot}, turns={turns}",
                hint="0 <= flag <= block <= 1, many_shot from 2, turns from 1.",
                code="setup.rail",
            )

    def describe(self) -> dict[str, Any]:
        """Its thresholds, and which embedder."""
        names = ("flag", "block", "many_shot", "turns")
        return {**super().describe(), **{n: getattr(self, n) for n in names}, "embedder": self.embedder.identity}

    async def check(self, subject: Subject) -> Verdict:
        """Score, band and reading; many-shot attacks."""
        exchanges = turns_within(subject.text)
        if exchanges >= self.many_shot:
            return Verdict("block", f"{exchanges} exchanges in one message", "many_shot", score=1.0)
        best = await self.score(subject.text)
        over = await self._together(subject) if best.score < self.flag else None
        verdict = self._verdict(over or best, "multi_turn" if over else "jailbreak")
        kept = self._kept(subject, best.score)
        if verdict.decision == "allow" and kept >= 2 * self.block:
            reason = f"the turns of this thread add up to {kept:.2f}"
            verdict = Verdict("block", reason, "multi_turn", score=best.score, policy="flag")
        if verdict.policy == "flag" and self.second is not None:
            return await self._second(subject, verdict)
        return verdict

    async def score(self, text: str) -> Reading:
        """The highest score over all readings and windows."""
        parts = [(view, window) for view, reading in views(text) for window in windows(reading)]
        if not parts:
            return Reading(0.0, "plain", "")
        if len(parts) > MOST:
            parts = _chosen(parts)
        texts = [window for _, window in parts]
        if not fits(self.embedder, self.head.embedder):
            raise SetupError(
                f"The weights were made with {self.head.embedder}, the embedder is {self.embedder.identity}",
                hint="Train them with this embedder, or use that one.",
                code="setup.rail",
            )
        scores = self.head.scores(await self.embedder.embed(texts), texts)
        at = int(scores.argmax())
        return Reading(float(scores[at]), *parts[at])

    async def _together(self, subject: Subject) -> Reading | None:
        """The last turns of the person as one text, where there are several; None when they are harmless too."""
        if self.turns < 2 or subject.place != "input":
            return None
        before = [text for role, text in subject.talk if role == "user"]
        if not before and subject.call is not None and subject.call.thread:
            before = self._threads.before(subject.call.thread, subject.text)
        before = before[-(self.turns - 1) :]
        if not before:
            return None
        found = await self.score("\n".join([*before, subject.text]))
        return found if found.score >= self.block else None

    def _kept(self, subject: Subject, score: float) -> float:
        """The score that is kept for the thread, with this turn."""
        thread = None if subject.call is None else subject.call.thread
        if self.turns < 2 or subject.place != "input" or not thread:
            return 0.0
        return self._threads.add(thread, subject.text, score)

    def _verdict(self, best: Reading, category: str) -> Verdict:
        if best.score < self.flag:
            return ALLOW
        found = [name for name, value in zip(SIGNS, signs(best.window), strict=True) if value]
        details = {"view": best.view, "signs": found}
        reason = f"score {best.score:.2f}" + (f", {', '.join(found[:3])}" if found else "")
        reason += f" (read as {best.view})" if best.view != "plain" else ""
        policy: Policy | None = None if best.score >= self.block else "flag"
        return Verdict("block", reason, category, score=best.score, policy=policy, details=details)

    async def _second(self, subject: Subject, verdict: Verdict) -> Verdict:
        assert self.second is not None
        from chainops.middleware.rails.judge import verdict_of

        said = await verdict_of(self.second, subject)
        if said.decision == "allow":
            return verdict
        reason = f"{verdict.reason}; {self.second.name}: {said.reason}"
        return replace(verdict, reason=reason, policy=None, failed=said.failed)


def _chosen(parts: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Of very many windows those with the most signs, and others spread over the text."""
    ranked = sorted(range(len(parts)), key=lambda i: -sum(signs(parts[i][1])))[: MOST // 2]
    spread = range(0, len(parts), -(-len(parts) // (MOST // 2)))
    return [parts[i] for i in sorted({*ranked, *spread})]
