"""Rails over one text: in order, the first block wins, verdicts remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from time import perf_counter_ns
from typing import NamedTuple

from chainops.errors import is_control_flow
from chainops.middleware.rails.asked import inside
from chainops.middleware.rails.rail import Rail, Subject
from chainops.middleware.rails.verdict import Policy, Verdict
from chainops.recorder import NO_RECORDER, SpanHandle

__all__ = ["Given", "Judge", "Plan", "Ruling", "effect", "label_of"]

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


class Given(NamedTuple):
    """A verdict of one rail, and when it was asked and answered (``perf_counter_ns``)."""

    rail: Rail
    verdict: Verdict
    began: int
    ended: int


@dataclass(slots=True)
class Ruling:
    """What follows from all verdicts on one text: the text that may go on, and the strongest consequence.

    ``given``: every verdict, in order. ``told``: they stand in a trace; from then on the ruling is remembered.
    """

    text: str
    given: list[Given] = field(default_factory=list)
    told: bool = False
    found: list[tuple[Rail, Verdict, Policy]] = field(default_factory=list)
    blocked: tuple[Rail, Verdict] | None = None
    ask: tuple[Rail, Verdict] | None = None


def effect(rail: Rail, verdict: Verdict) -> Policy:
    """What is to be done about a verdict that is not ``allow``."""
    if verdict.failed:
        return "block" if rail.on_error == "block" else "flag"
    policy = verdict.policy or rail.policy
    # a rail that rewrites wants the text rewritten, not refused
    return "redact" if verdict.decision == "rewrite" and policy == "block" else policy


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
        given = ruling.given
        for rail in plan.ordered:
            began = perf_counter_ns()
            verdict = await verdict_of(rail, subject)
            given.append(Given(rail, verdict, began, perf_counter_ns()))
            if verdict.decision == "allow":
                continue
            await self._follow(rail, verdict, subject, ruling)
            if ruling.blocked is not None:
                return ruling
            if ruling.text != subject.text:
                subject = replace(subject, text=ruling.text)
        if plan.parallel:
            await self._together(plan.parallel, subject, ruling)
        return ruling

    async def _together(self, rails: Sequence[Rail], subject: Subject, ruling: Ruling) -> None:
        """All at once; the first block ends the others."""
        began = perf_counter_ns()
        if len(rails) == 1:
            verdict = await verdict_of(rails[0], subject)
            ruling.given.append(Given(rails[0], verdict, began, perf_counter_ns()))
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
                    ruling.given.append(Given(tasks[task], verdict, began, perf_counter_ns()))
                    if verdict.decision != "allow" and ruling.blocked is None:
                        await self._follow(tasks[task], verdict, subject, ruling)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _follow(self, rail: Rail, verdict: Verdict, subject: Subject, ruling: Ruling) -> None:
        policy = effect(rail, verdict)
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
            again = replace(subject, text=text, fresh=False)
            if (await verdict_of(rail, again)).decision == "allow":
                return text
        return WITHHELD.format(category=verdict.category or rail.name)


async def verdict_of(rail: Rail, subject: Subject) -> Verdict:
    """What ``rail`` says; an error or a timeout is a failed block. Rails that wait get a span of their own, with its
    score; the judgements of the others are told to the trace once the ruling is made."""
    if not rail.waits:
        return await _said(rail, subject)
    recorder = NO_RECORDER if subject.call is None else subject.call.recorder
    open_: SpanHandle | None = None
    try:
        with recorder.span(f"rail {rail.name}", input=subject.text) as span, inside(span):
            open_ = span
            async with asyncio.timeout(rail.timeout_s):
                verdict = await rail.check(subject)
            span.set(place=subject.place, decision=verdict.decision, category=verdict.category, score=verdict.score)
            span.set(**verdict.details)
    except Exception as error:
        if is_control_flow(error):
            raise
        verdict = _broken(error)
    if open_ is not None and subject.fresh:
        open_.score(f"rail.{rail.name}", label_of(rail, verdict), source="rule", comment=verdict.reason)
    return verdict


async def _said(rail: Rail, subject: Subject) -> Verdict:
    try:
        return await rail.check(subject)
    except Exception as error:
        if is_control_flow(error):
            raise
        return _broken(error)


def _broken(error: Exception) -> Verdict:
    reason = "it took too long" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
    return Verdict("block", reason, "error", failed=True)


def label_of(rail: Rail, verdict: Verdict) -> str:
    """``allow``, or what is done about it: the label of the rail's score."""
    return "allow" if verdict.decision == "allow" else effect(rail, verdict)
