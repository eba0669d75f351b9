"""Leaving out whole groups, the oldest first."""

from __future__ import annotations

from chainops.middleware.compress.draft import Draft
from chainops.middleware.compress.groups import Group

__all__ = ["keep_last", "oldest", "trim"]


def trim(draft: Draft, goal: int, *, step: int = 1) -> None:
    """Drop the oldest groups until the prompt has at most ``goal`` tokens, or nothing may be dropped any more.

    It drops as much as if the excess were rounded up to whole ``step``: while a conversation grows by less than that,
    the same groups are left out each time, and what comes before the cut stays equal, for caches of prefixes.
    A history whose oldest groups are gone begins with a person's message again, where there is one.
    """
    excess = draft.tokens - goal
    if excess <= 0:
        return
    broken = [group for group in draft.droppable() if group.kind == "broken"]
    draft.drop(broken)
    draft.drop(oldest(draft, goal, step=step))


def oldest(draft: Draft, goal: int, *, step: int = 1) -> list[Group]:
    """The groups that would have to go, see :func:`trim`."""
    excess = draft.tokens - goal
    if excess <= 0:
        return []
    wanted = -(-excess // step) * step
    last = draft.last_human()
    gone: list[Group] = []
    dropped = 0
    for group in draft.droppable():
        leads = bool(gone) and group.kind == "ai" and group.places[0] < last  # an answer whose question is gone
        if dropped >= wanted and not leads:
            break
        gone.append(group)
        dropped += sum(draft.sizes[i] for i in group.places)
    return gone


def keep_last(draft: Draft, n: int) -> None:
    """Keep system messages and at most the last ``n`` of the others; a group is kept whole, and the last one always.

    The last question is kept too when all of the ``n`` are the work on it.
    """
    free = n
    kept: set[int] = set()
    for group in reversed([g for g in draft.groups() if g.kind != "system"]):
        if kept and (len(group.places) > free or group.kind == "broken"):
            break
        kept.update(group.places)
        free -= len(group.places)
    last = draft.last_human()
    draft.drop([g for g in draft.groups() if g.kind != "system" and g.places[0] not in kept and last not in g.places])
