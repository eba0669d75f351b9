"""Old results of tools: a line in the place of each says what it was, and how to read it again."""

from __future__ import annotations

from chainops.middleware.compress.draft import Draft
from chainops.middleware.compress.groups import kind_of

__all__ = ["CLEARED", "FETCH", "clear_results"]

CLEARED = "[result left out:"
FETCH = "fetch_result"


def clear_results(draft: Draft, goal: int, *, keep: int, step: int, can_fetch: bool) -> None:
    """Put a line in the place of the oldest results until the prompt has ``goal`` tokens, rounded as ``trim`` does.

    Args:
        keep: the last results that stay.
        can_fetch: the model has the tool that reads a result again.
    """
    results = [i for i, message in enumerate(draft.messages) if kind_of(message) == "tool"]
    names = {call["id"]: call["name"] for message in draft.messages for call in getattr(message, "tool_calls", ())}
    last = draft.groups()[-1].places if draft.messages else ()
    wanted = -(-max(draft.tokens - goal, 0) // step) * step
    saved = 0
    for index in results[: len(results) - keep]:
        if saved >= wanted:
            return
        message = draft.messages[index]
        if index in last or (isinstance(message.content, str) and message.content.startswith(CLEARED)):
            continue
        name, before = getattr(message, "tool_call_id", ""), draft.sizes[index]
        again = f'; {FETCH}("{name}") reads it again' if can_fetch else ""
        line = f"{CLEARED} {names.get(name, 'tool')}, {before} tokens{again}]"
        if draft.put(index, message.model_copy(update={"content": line}), "result"):
            saved += before - draft.sizes[index]
