"""Between the result of a call and the entry that others are served from."""

from __future__ import annotations

from typing import Any

from chainops.calls import Call, ModelCall, ModelResult, NodeCall, ToolCall
from chainops.middleware.cache.asking import Asked
from chainops.middleware.cache.policy import documents_of, why_not_stored
from chainops.middleware.cache.stream import Recording, answer_of, replay, value_of
from chainops.store.cache import Entry, Tiers, Unfaithful, copy_value

__all__ = ["entry_for", "is_private", "serve", "spent"]


def entry_for(
    tiers: Tiers, call: Call, asked: Asked, result: Any, recording: Recording | None, ms: float
) -> tuple[Entry | None, str]:
    """What may be given to others, and why it is not to be kept; None where nobody else may have it."""
    if why := _whose(call, asked):
        return None, why
    try:
        value = value_of(result, recording) if isinstance(result, ModelResult) else copy_value(result)
    except Unfaithful as error:
        return None, f"the result holds a {error}"
    if call.kind == "retriever":
        call.tag(*documents_of(result))
    marks, now, rule = call.guard.marks, tiers.clock(), asked.rule
    spent = marks.notes.get("cache.spent", {}) if marks is not None else {}
    expires = None if rule.ttl_s is None else now + rule.ttl_s
    entry = Entry(
        key=asked.key,
        kind=call.kind,
        node=call.path,
        value=value,
        created=now,
        expires=expires,
        stale_until=expires + rule.stale_s if expires is not None and rule.stale_s else None,
        ms=round(ms, 3),
        tokens=int(spent.get("tokens", 0)),
        micro=int(spent.get("micro", 0)),
        tags=(*asked.tags, *sorted(marks.tags)) if marks is not None and marks.tags else asked.tags,
        parts=asked.parts,
    )
    return entry, why_not_stored(result) if isinstance(result, ModelResult) else _belongs_to_run(call, result)


async def serve(tiers: Tiers, call: Call, entry: Entry, *, joined: bool, pace: bool) -> Any:
    """Answer ``call`` with a copy of ``entry``, and say on its span what that saved."""
    age = max(tiers.clock() - entry.created, 0.0)
    told = {
        "kind": "exact",
        "key": entry.key,
        "age_s": round(age, 3),
        "saved_tokens": entry.tokens,
        "saved_ms": entry.ms,
        "saved_micro": entry.micro,
    }
    call.annotate("cache", **told, **({"joined": True} if joined else {}))
    saved = {"saved_ms": entry.ms, "saved_tokens": entry.tokens, "saved_micro": entry.micro}
    tiers.behind.add(call.kind, {"joined" if joined else "hit": 1, **saved})
    if call.parent is not None and call.parent.kind != "run":
        call.parent.tag(*entry.tags)
    if isinstance(call, ModelCall):
        result, chunks = answer_of(entry.value, call.messages, {"cache": told})
        await replay(call, result, chunks, entry.value.get("at", ()), pace)
        return result
    value = copy_value(entry.value)
    if isinstance(call, ToolCall) and hasattr(value, "tool_call_id"):
        value.tool_call_id = call.call_id
    return value


def is_private(call: Call, asked: Asked) -> bool:
    marks = call.guard.marks
    return marks is not None and (
        (marks.private and not asked.user_in_key) or (marks.bound and not asked.thread_in_key)
    )


def _whose(call: Call, asked: Asked) -> str:
    """Why nobody else may have the result; empty where others may."""
    marks = call.guard.marks
    if marks is None:
        return ""
    if marks.asked:
        return "a person was asked on the way"
    if marks.bound and not asked.thread_in_key:
        return "it means something in its thread only, which is not in the key"
    return "it is private to a user who is not in the key" if marks.private and not asked.user_in_key else ""


def _belongs_to_run(call: Call, result: Any) -> str:
    """Why the result of a node or tool is for this run only; empty where it is not.

    A node may answer with a message that replaces one of its input, by id; another run has other ids.
    """
    if getattr(result, "status", None) == "error":
        return "the tool answered with an error"
    if not isinstance(call, NodeCall):
        return ""
    given = _ids(call.input)
    return "a message of the result replaces one of the input" if given and given & _ids(result) else ""


def _ids(state: Any) -> set[str]:
    values = state.values() if isinstance(state, dict) else (state,)
    lists = [value if isinstance(value, list) else [value] for value in values]
    return {m.id for part in lists for m in part if getattr(m, "response_metadata", None) is not None and m.id}


def spent(call: Call, tokens: int) -> None:
    """Add what a model call used to it and to every call around it."""
    marks = call.guard.marks
    cost = marks.notes.get("cost", {}).get("micro", 0) if marks is not None else 0
    around: Call | None = call
    while around is not None:
        spent = around.guard.mark().notes.setdefault("cache.spent", {"tokens": 0, "micro": 0})
        spent["tokens"] += tokens
        spent["micro"] += cost
        around = around.parent
