"""Runs the stages of a strategy on a prompt until it is short enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from chainops.middleware.compress.draft import Draft
from chainops.middleware.compress.pays import Speeds
from chainops.middleware.compress.stages import Job, Stage
from chainops.recorder import SpanHandle

__all__ = ["Ran", "shorten"]

Spans = Callable[[str], AbstractContextManager[SpanHandle]]


@dataclass(frozen=True, slots=True)
class Ran:
    """What one stage did.

    Args:
        stage: its name.
        before, after: tokens of the prompt.
        ms: how long it took.
        skipped: why it did not run; empty when it did.
    """

    stage: str
    before: int
    after: int
    ms: float
    skipped: str = ""


async def shorten(
    draft: Draft, job: Job, stages: Sequence[Stage], spans: Spans, speeds: Speeds, model: str = "", cached: int = 0
) -> list[Ran]:
    """Run ``stages`` until the prompt has ``job.goal`` tokens; the first of ``last_n`` runs in any case.

    Args:
        spans: opens the span of a stage.
        speeds: says which stages would not pay, while the prompt fits as it is; learns what they took.
        model: whose speed counts.
        cached: tokens at the beginning of the prompt that the model has in memory.
    """
    done: list[Ran] = []
    for stage in stages:
        before = draft.tokens
        if before <= job.goal and stage.name != "last_n":
            break
        if (stage.name == "trim" and before <= job.trim_to) or (stage.name == "summary" and job.ask is None):
            continue
        fits = job.limit is not None and before <= job.limit
        if fits and not stage.must and (reason := speeds.objection(stage.name, before, job.goal, cached, model)):
            done.append(Ran(stage.name, before, before, 0.0, reason))
            continue
        label = stage.name
        if label == "extract" and job.embedder is not None:
            meaning = "extract by meaning"
            job.by_meaning = not (fits and speeds.objection(meaning, before, job.goal, cached, model))
            label = meaning if job.by_meaning else label
        known, started = len(draft.cuts), time.perf_counter()
        with spans(f"compress.{stage.name}") as span:
            await stage.run(draft, job)
            ran = Ran(stage.name, before, draft.tokens, round((time.perf_counter() - started) * 1e3, 3))
            speeds.saw_stage(label, before, ran.ms)
            span.set(tokens_before=ran.before, tokens_after=ran.after, ms=ran.ms, dropped=_dropped(draft, known))
            span.set(**draft.notes.get(stage.name, {}))
        done.append(ran)
    return done


def _dropped(draft: Draft, known: int) -> list[dict[str, Any]]:
    """What was left out since, at most a hundred entries."""
    return [{"message": c.place, "what": c.what, "tokens": c.tokens} for c in draft.cuts[known : known + 100]]
