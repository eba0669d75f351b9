"""Whether a prompt fits, exactly: near the limit the whole of it is counted as the chat template writes it."""

from __future__ import annotations

import asyncio

from chainops.calls import ModelCall
from chainops.middleware.compress.budget import Budget
from chainops.middleware.compress.draft import Draft
from chainops.middleware.compress.overflow import ContextOverflow
from chainops.middleware.compress.trim import trim

__all__ = ["ensure", "fits"]

NEAR = 0.85
"""From this share of what a prompt may have, the whole prompt is counted as the template writes it."""


async def fits(call: ModelCall, draft: Draft, budget: Budget, goal: int) -> bool:
    """Whether the prompt as it came has at most ``goal`` tokens; counted whole where it is near that."""
    tokens = draft.tokens
    if tokens <= goal * NEAR:
        return True
    if tokens > goal / NEAR:
        return False
    whole = await _whole(call, draft)
    return (tokens if whole is None else whole - budget.tools) <= goal


async def ensure(call: ModelCall, draft: Draft, budget: Budget, limit: int | None) -> None:
    """Drop more where the template writes more than was estimated. Raises ``ContextOverflow``."""
    if limit is None:
        return
    while True:
        tokens = draft.tokens
        if tokens > limit * NEAR and (whole := await _whole(call, draft)) is not None:
            tokens = whole - budget.tools
        if tokens <= limit:
            return
        known = len(draft.cuts)
        trim(draft, draft.tokens - (tokens - limit))
        if len(draft.cuts) == known:
            tools = {"tools": budget.tools} if budget.tools else {}
            parts = dict(sorted({**draft.parts(), **tools}.items(), key=lambda part: -part[1]))
            raise ContextOverflow(tokens, limit, parts, budget.reserved())


async def _whole(call: ModelCall, draft: Draft) -> int | None:
    """Tokens of the whole prompt as the template writes it, tools included; None: there is no template to ask."""
    tools = call.params.get("tools") or []
    try:
        return await asyncio.to_thread(draft.counts.counter.prompt, draft.messages, tools)
    except Exception:  # noqa: BLE001  what a template refuses, the model refuses when it is called
        return None
