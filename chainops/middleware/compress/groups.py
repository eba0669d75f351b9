"""Messages that stay together: an assistant message and the results of all its tool calls are one group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

__all__ = ["Group", "groups_of", "kind_of"]


@dataclass(frozen=True, slots=True)
class Group:
    """Neighbours in a history that are kept or dropped together.

    Args:
        kind: ``system``, ``human``, ``ai`` (an answer, or calls with all their results), ``other``, or ``broken``: a
            result whose call is not there, or a call whose result is not there.
        places: indices of its messages, in order.
    """

    kind: str
    places: tuple[int, ...]


def kind_of(message: BaseMessage) -> str:
    """``system``, ``human``, ``ai``, ``tool`` or ``other``."""
    kind = message.type.removesuffix("Chunk").removesuffix("Message").lower()
    if kind == "chat":
        role = str(getattr(message, "role", ""))
        kind = {"user": "human", "assistant": "ai", "developer": "system"}.get(role, role)
    return "tool" if kind == "function" else kind if kind in ("system", "human", "ai", "tool") else "other"


def groups_of(messages: Sequence[BaseMessage]) -> list[Group]:
    """The groups of a history, in order. Every message is in exactly one."""
    found: list[Group] = []
    place = 0
    while place < len(messages):
        kind = kind_of(messages[place])
        calls = [call["id"] for call in getattr(messages[place], "tool_calls", ())] if kind == "ai" else []
        end = place + 1
        while calls and end < len(messages) and kind_of(messages[end]) == "tool":
            end += 1
        answered = [getattr(message, "tool_call_id", None) for message in messages[place + 1 : end]]
        if kind == "tool" or sorted(map(str, answered)) != sorted(map(str, calls)):
            kind = "broken"
        found.append(Group(kind, tuple(range(place, end))))
        place = end
    return found
