"""Rails over one text: in order, the first block wins, verdicts remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from chainops.errors import is_control_flow
from chainops.middleware.rails.rail import Rail, Subject
from chainops.middleware.rails.verdict import Policy, Verdict
from chainops.recorder import NO_RECORDER

__all__ = ["Judge", "Plan", "Ruling", "effect"]

WITHHELD = "[withheld: {category}]"
LONG = 512  # longer texts are remembered by their hash


class Plan:
    """The rails for one place at one node, in the order in which they run."""

    __slots__ = ("local", "names", "ordered", "parallel")

    def __init__(self, rails: Sequence[Rail]) -> None:
        rewriting = [rail for rail in rails if rail.rewrites]
        judging = [rail for rail in rails if not rail.rewrites]
        self.ordered = rewriting + [rail for rail in judging if not rail.waits]
        self.parallel = [rail for rail in judging if rail.waits]
        self.names = [rail.name for rail in (*self.ordered, *self.parallel)]
        self.local = all(rail.local for rail in rails)

    def __bool__(self) -> bool:
        return bool(self.ordered or self.parallel)


@dataclass(slots=True)
class Ruling:
    """What follows from all verdicts on one text: the text that may go on, and the strongest consequence."""

    text: str
    found: list[tuple[Rail, Verdict, Policy]] = field(default_factory=list)
    blocked: tuple[Rail, Verdict] | None = None
    ask: tuple[Rail, Verdict] | None = None


def effect(rail: Rail, verdict: Verdict) -> Policy:
    """What is to be done about a verdict that is not ``allow``."""
    if verdict.failed:
        return "block" if rail.on_error == "block" else "flag"
    return verdict.policy or rail.policy


class Judge:
    """Runs rails and remembers what they said about a text.

    Args:
        size: texts that are remembered; those with a failed verdict never are.
    """

    def __init__(self, size: int = 4096) -> None:
        self.size = size
        self._memory: dict[tuple[int, str, str | bytes], Ruling] = {}

    async def rule(self, plan: Plan, subject: Subject) -> Ruling:
        """The ruling on one text. Raises nothing but cancellation and control flow."""
        text = subject.text
        small = text if len(text) <= LONG else blake2b(text.encode("utf-8", "replace")).digest()
        run = "" if plan.local or subject.call is None else subject.call.run.run_id
        # where the conversation is not known, what was said about the text within it holds
        keys = [(id(plan), run, small)]
        if run and subject.talk:
            keys.insert(0, (id(plan), f"{run} {hash(subject.talk)}", small))
        known = self._memory.get(keys[0])
        if known is not None:
            return known
        ruling = await self._ruled(plan, subject)
        if not any(verdict.failed for _, verdict, _ in ruling.found) and (plan.local or run):
            for key in keys:
                if len(self._memory) >= self.size:
                    self._memory.pop(next(iter(self._memory)), None)
                self._memory[key] = ruling
        return ruling

    async def _ruled(self, plan: Plan, subject: Subject) -> Ruling:
        ruling = Ruling(subject.text)
        for rail in plan.ordered:
            verdict = await verdict_of(rail, subject)
            if verdict.decision == "allow":
                continue
            await self._follow(rail, verdict, subject, ruling)
            if ruling.blocked is not None:
                return ruling
            if ruling.text != subject.text:
                subject = Subject(ruling.text, subject.place, subject.call, subject.talk, subject.source)
        if plan.parallel:
            await self._together(plan.parallel, subject, ruling)
        return ruling

    async def _together(self, rails: Sequence[Rail], subject: Subject, ruling: Ruling) -> None:
        """All at once; the first block ends the others."""
        if len(rails) == 1:
            verdict = await verdict_of(rails[0], subject)
            if verdict.decision != "allow":
                await self._follow(rails[0], verdict, subject, ruling)
            return
        tasks = {asyncio.ensure_future(verdict_of(rail, subject)): rail for rail in rails}
        waiting = set(tasks)
        try:
            while waiting and ruling.blocked is None:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(done, key=lambda t: rails.index(tasks[t])):
                    verdict = task.result()
                    if verdict.decision != "allow" and ruling.blocked is None:
                        await self._follow(tasks[task], verdict, subject, ruling)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _follow(self, rail: Rail, verdict: Verdict, subject: Subject, ruling: Ruling) -> None:
        policy = effect(rail, verdict)
        if verdict.decision == "rewrite" and policy == "block" and not verdict.failed:
            policy = "redact"  # the rail itself wants the text rewritten, not refused
        ruling.found.append((rail, verdict, policy))
        if policy == "block":
            ruling.blocked = (rail, verdict)
        elif policy == "ask":
            ruling.ask = ruling.ask or (rail, verdict)
        elif policy == "redact":
            ruling.text = await self._redacted(rail, verdict, subject)

    async def _redacted(self, rail: Rail, verdict: Verdict, subject: Subject) -> str:
        """The text without what was found; all of it is withheld where the rail would still find something."""
        text = verdict.text
        if text is not None and text != subject.text:
            again = Subject(text, subject.place, subject.call, subject.talk, subject.source)
            if (await verdict_of(rail, again)).decision == "allow":
                return text
        return WITHHELD.format(category=verdict.category or rail.name)


async def verdict_of(rail: Rail, subject: Subject) -> Verdict:
    """What ``rail`` says; an error or a timeout is a failed block. Rails that wait get a span of their own."""
    recorder = NO_RECORDER if subject.call is None else subject.call.recorder
    try:
        if not rail.waits:
            return await rail.check(subject)
        with recorder.span(f"rail {rail.name}", input=subject.text) as span:
            async with asyncio.timeout(rail.timeout_s):
                verdict = await rail.check(subject)
            span.set(decision=verdict.decision, category=verdict.category, score=verdict.score, **verdict.details)
            return verdict
    except TimeoutError:
        return Verdict("block", "it took too long", "error", failed=True)
    except Exception as error:
        if is_control_flow(error):
            raise
        return Verdict("block", f"{type(error).__name__}: {error}", "error", failed=True)
