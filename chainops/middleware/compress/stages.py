"""The stages by name, and which of them a strategy runs, in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from chainops.lexical.words import content_stems, terms
from chainops.middleware.compress.asking import question_before, question_in
from chainops.middleware.compress.clearing import CLEARED, clear_results
from chainops.middleware.compress.draft import Draft
from chainops.middleware.compress.duplicates import drop_duplicates
from chainops.middleware.compress.extract import extract
from chainops.middleware.compress.groups import kind_of
from chainops.middleware.compress.structure import lossless, restructure
from chainops.middleware.compress.summary import Ask, Summaries, Summary
from chainops.middleware.compress.terse import terse
from chainops.middleware.compress.trim import keep_last, trim

if TYPE_CHECKING:
    from chainops.embedding import Embedder

__all__ = ["STRATEGIES", "Job", "Stage", "Strategy", "sharing", "stages_of"]

Strategy = Literal["lossless", "balanced", "aggressive", "trim", "last_n"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
MATERIAL = 64
"""Tokens from which on a message is worth extracting from."""
LADDER = 0.8
"""Each step of extraction keeps this share of the step before: the same for a while, as a conversation grows."""


@dataclass(slots=True)
class Job:
    """What a stage may know beside the draft.

    Args:
        goal: tokens that the prompt should have.
        limit: tokens that it may have at most; None: not known.
        strategy: which preset runs.
        last_n: messages to keep, for the strategy of that name.
        step: tokens by which cuts move on.
        keep_results: results of tools that are not cleared, the last ones.
        can_fetch: the model has the tool that reads a cleared result again.
        fold_comments: comments of code may go.
        embedder: for stages that compare by meaning; None: they go by words alone.
        by_meaning: whether using it pays.
        ask: asks a model for a summary; None: there are none.
        summaries: those that are known.
    """

    goal: int
    limit: int | None
    strategy: Strategy
    last_n: int = 5
    step: int = 1
    keep_results: int = 3
    can_fetch: bool = False
    fold_comments: bool = False
    embedder: Embedder | None = None
    by_meaning: bool = True
    ask: Ask | None = None
    summaries: Summaries | None = None

    @property
    def trim_to(self) -> int:
        """Tokens down to which whole groups are dropped."""
        return self.goal if self.strategy in ("aggressive", "trim") or self.limit is None else self.limit


class Stage(Protocol):
    """One way to make a prompt shorter.

    Attributes:
        name: of its span: ``compress.<name>``.
        must: it runs although it may cost more time than it saves.
    """

    name: str
    must: bool

    def run(self, draft: Draft, job: Job) -> Awaitable[None]:
        """Change ``draft``; never make it longer."""


class Duplicates:
    """What an earlier message says already."""

    name, must = "duplicates", False

    async def run(self, draft: Draft, job: Job) -> None:
        """Exact repetitions; except with ``lossless`` also near ones."""
        near = job.strategy != "lossless"
        await asyncio.to_thread(drop_duplicates, draft, near=near, changeable=set(_material(draft, least=0)))


class Structure:
    """The form of what is no prose."""

    name, must = "structure", False

    async def run(self, draft: Draft, job: Job) -> None:
        """White space; except with ``lossless`` also nulls, rows in the middle and lines of one pattern."""
        await asyncio.to_thread(self._run, draft, job)

    def _run(self, draft: Draft, job: Job) -> None:
        for index in _material(draft, least=16):
            text = str(draft.messages[index].content)
            if job.strategy == "lossless":
                short = lossless(text)
            else:
                wanted = content_stems(question_before(draft.messages, index))
                short = restructure(text, relevant=sharing(wanted), comments=job.fold_comments)
            if short != text:
                _put(draft, index, short, "form")


class Results:
    """Old results of tools."""

    name, must = "results", False

    async def run(self, draft: Draft, job: Job) -> None:
        """A line in the place of each, the oldest first."""
        clear_results(draft, job.goal, keep=job.keep_results, step=job.step, can_fetch=job.can_fetch)


class Extraction:
    """What the question at the time asks for, of long results and messages."""

    name, must = "extract", False

    async def run(self, draft: Draft, job: Job) -> None:
        """Each long text down to the same share, as much as the goal asks."""
        kinds = ("tool", "human", "ai") if job.strategy == "aggressive" else ("tool", "human")
        places = [i for i in _material(draft, least=MATERIAL, last=True) if kind_of(draft.messages[i]) in kinds]
        places = [i for i in places if not str(draft.messages[i].content).startswith(CLEARED)]
        total, excess = sum(draft.sizes[i] for i in places), draft.tokens - job.goal
        if not places or excess <= 0:
            return
        share = LADDER
        while share > 0.05 and share * total > total - excess:
            share *= LADDER
        for index in places:
            text = str(draft.messages[index].content)
            asked = question_in(text) if index == draft.last_human() else []
            room = int(draft.sizes[index] * share)
            if index == places[-1] and (len(places) == 1 or asked):  # new in this prompt: nothing cached to keep equal
                frame = draft.sizes[index] - draft.counts.text(text)
                room = draft.sizes[index] - frame - max(draft.tokens - job.goal, 0)
            short = await extract(
                text,
                max(room, 16),
                query=question_before(draft.messages, index),
                count=draft.counts.text,
                embedder=job.embedder if job.by_meaning else None,
                keep=asked,
            )
            if short.text.strip():
                _put(draft, index, short.text, "sentences")


class Terse:
    """Telegram style for what was said before."""

    name, must = "terse", False

    async def run(self, draft: Draft, job: Job) -> None:
        """All but the last question and the work on it."""
        for index in _material(draft, least=8):
            text = str(draft.messages[index].content)
            if text.startswith(CLEARED) or index > draft.last_human():
                continue
            if (short := terse(text)).strip() and terms(short):
                _put(draft, index, short, "words")


class Trim:
    """Whole groups, the oldest first."""

    name, must = "trim", True

    async def run(self, draft: Draft, job: Job) -> None:
        """To the limit; with the strategies ``aggressive`` and ``trim`` to the goal."""
        trim(draft, job.trim_to, step=job.step)


class KeepLast:
    """The last messages, and nothing of the others."""

    name, must = "last_n", True

    async def run(self, draft: Draft, job: Job) -> None:
        """Keep system messages and the last ``n``."""
        keep_last(draft, job.last_n)


_STAGES: dict[Strategy, tuple[Callable[[], Stage], ...]] = {
    "lossless": (Duplicates, Structure),
    "balanced": (Duplicates, Structure, Results, Extraction, Summary, Trim),
    "aggressive": (Duplicates, Structure, Results, Extraction, Terse, Summary, Trim),
    "trim": (Trim,),
    "last_n": (KeepLast, Trim),
}


def stages_of(strategy: Strategy) -> list[Stage]:
    """The stages of a strategy, in order."""
    return [stage() for stage in _STAGES[strategy]]


def _material(draft: Draft, *, least: int, last: bool = False) -> list[int]:
    """Indices of messages whose text may be changed: no system message, and not the last question unless ``last``."""
    question = draft.last_human()
    return [
        i
        for i, message in enumerate(draft.messages)
        if isinstance(message.content, str)
        and draft.sizes[i] >= least
        and kind_of(message) in ("human", "ai", "tool")
        and (last or i != question)
        and getattr(message, "status", "success") != "error"
    ]


def _put(draft: Draft, index: int, text: str, what: str) -> Any:
    return draft.put(index, draft.messages[index].model_copy(update={"content": text}), what)


def sharing(wanted: frozenset[str]) -> Callable[[str], bool]:
    """Whether a row has at least two of the words that are wanted, or the only one; numbers of three digits count."""
    if not wanted:
        return lambda row: False
    sure = {word for word in wanted if len(word) > 2 and any(sign.isdigit() for sign in word)}

    def shares(row: str) -> bool:
        found = wanted & content_stems(row)
        return bool(found & sure) or len(found) >= min(2, len(wanted))

    return shares
