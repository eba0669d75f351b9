"""The stages by name, and which of them a strategy runs, in which order."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from chainops.middleware.compress.draft import Draft
from chainops.middleware.compress.trim import keep_last, trim

if TYPE_CHECKING:
    from chainops.embedding import Embedder

__all__ = ["STRATEGIES", "Job", "KeepLast", "Stage", "Strategy", "Trim"]

Strategy = Literal["lossless", "balanced", "aggressive", "trim", "last_n"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


@dataclass(slots=True)
class Job:
    """What a stage may know beside the draft.

    Args:
        goal: tokens that the prompt should have.
        limit: tokens that it may have at most; None: not known.
        strategy: which preset runs.
        last_n: messages to keep, for the strategy of that name.
        step: tokens by which cuts move on.
        embedder: for stages that compare by meaning; None: they go by words alone.
    """

    goal: int
    limit: int | None
    strategy: Strategy
    last_n: int = 5
    step: int = 1
    embedder: Embedder | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


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


class Trim:
    """Whole groups, the oldest first."""

    name, must = "trim", True

    async def run(self, draft: Draft, job: Job) -> None:
        """To the limit; with the strategies ``aggressive`` and ``trim`` to the goal."""
        to = job.goal if job.strategy in ("aggressive", "trim") or job.limit is None else job.limit
        trim(draft, to, step=job.step)


class KeepLast:
    """The last messages, and nothing of the others."""

    name, must = "last_n", True

    async def run(self, draft: Draft, job: Job) -> None:
        """Keep system messages and the last ``n``."""
        keep_last(draft, job.last_n)
