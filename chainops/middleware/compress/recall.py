"""Old turns that left the prompt: into an index, and those that the question is about back in, before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chainops.calls import ModelCall
from chainops.memory import Turns
from chainops.middleware.compress.asking import question_before
from chainops.middleware.compress.draft import Draft
from chainops.middleware.compress.extract import extract
from chainops.middleware.compress.groups import kind_of
from chainops.middleware.compress.summary import transcript

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

__all__ = ["HEAD", "Place", "recall", "room_of"]

HEAD = "[From earlier in this conversation]"
MOST = 4
LEAST = 24
"""Tokens from which on a part of a turn is worth recalling."""


@dataclass(frozen=True, slots=True)
class Place:
    """The conversation of a call: whose it is, and the index of its old turns."""

    turns: Turns
    thread: str
    user: str = ""
    tenant: str = ""

    @classmethod
    def of(cls, turns: Turns | None, call: ModelCall, user_key: str, tenant_key: str) -> Place | None:
        """None: there is no index, or the run has no thread."""
        if turns is None or call.thread is None:
            return None
        said = call.run.metadata
        return cls(turns, call.thread, str(said.get(user_key, "")), str(said.get(tenant_key, "")))


def room_of(limit: int | None, before: int) -> int:
    """Tokens kept free for what is recalled: a sixth of the limit, at most 2,000."""
    return min(max((before if limit is None else limit) // 6, 2 * LEAST), 2000)


async def recall(draft: Draft, place: Place, room: int, before: int) -> dict[str, Any]:
    """Move the turns that were dropped into the index, and put those that fit the last question before it.

    Args:
        room: tokens that they may have.
        before: tokens of the prompt as it came, which it never exceeds.

    Returns:
        What the span is told: how many turns were moved, and how many were recalled.
    """
    from langchain_core.messages import HumanMessage

    gone = _turns(draft.given, {cut.place for cut in draft.cuts if cut.what in ("message", "summarised")})
    who = {"user": place.user, "tenant": place.tenant}
    await place.turns.add(place.thread, gone, **who)
    last = draft.last_human()
    query = question_before(draft.messages, last) if last >= 0 else ""
    if not query:
        return {"moved": len(gone), "recalled": 0}
    here = "\n".join(str(message.text) for message in draft.messages)
    room = min(room, before - draft.tokens) - draft.counts.text(HEAD) - draft.counts.frame[1]
    told: list[tuple[int, str]] = []
    for number, text, _ in await place.turns.find(place.thread, query, **who, limit=2 * MOST):
        if _first(text) in here or len(told) == MOST or room < LEAST:
            continue
        short = (await extract(text, room, query=query, count=draft.counts.text)).text
        size = draft.counts.text(short) + 2
        if short.strip() and size <= room:
            told.append((number, short))
            room -= size
    if told:
        message = HumanMessage("\n\n".join([HEAD, *(text for _, text in sorted(told))]))
        if draft.tokens + draft.counts.message(message) <= before:
            draft.insert(last, message)
            return {"moved": len(gone), "recalled": len(told)}
    return {"moved": len(gone), "recalled": 0}


def _turns(given: Sequence[BaseMessage], gone: set[int]) -> list[tuple[int, str]]:
    """The dropped messages, each question with what followed it."""
    found: dict[int, list[BaseMessage]] = {}
    start = 0
    for index, message in enumerate(given):
        if kind_of(message) == "human":
            start = index
        if index in gone:
            found.setdefault(start, []).append(message)
    texts: Mapping[int, str] = {number: transcript(messages) for number, messages in found.items()}
    return [(number, text) for number, text in texts.items() if text]


def _first(turn: str) -> str:
    """What the first line of a transcript says."""
    return turn.split("\n", 1)[0].partition(": ")[2].strip() or turn
