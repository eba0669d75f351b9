"""What is asked: the question by which the other messages are judged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chainops.middleware.compress.groups import kind_of
from chainops.middleware.compress.units import units_of

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

__all__ = ["question_before", "question_in"]

LONG = 400
"""Characters beyond which a message is a question with its material, rather than a question."""
_MARKED = re.compile(r"^\s*(?:question|q|task|query|frage|aufgabe)\s*:\s*(.+)", re.IGNORECASE)


def question_in(text: str) -> list[str]:
    """The units of ``text`` that ask: all of a short text; of a long one what is marked as question or ends in a
    question mark (the last three); else its first and its last unit, where instructions stand."""
    units = [unit.text for unit in units_of(text)]
    if len(text) <= LONG or len(units) <= 2:
        return units
    marked = [unit for unit in units if _MARKED.match(unit)]
    asking = [unit for unit in units if unit.rstrip().rstrip("\"'”’)").endswith(("?", "？"))]
    return marked or asking[-3:] or [units[0], units[-1]]


def question_before(messages: Sequence[BaseMessage], index: int) -> str:
    """What the material in message ``index`` is for: its own question, else that of the last person before it, and the
    arguments of the call that it is the result of. Later messages do not change it."""
    message = messages[index]
    own = message.content if kind_of(message) == "human" and isinstance(message.content, str) else ""
    found = question_in(own) if own else []
    if not found:
        person = next((m for m in reversed(messages[:index]) if kind_of(m) == "human"), None)
        found = question_in(person.text) if person is not None else []
    call_id = getattr(message, "tool_call_id", None)
    for earlier in reversed(messages[:index]) if call_id else ():
        for call in getattr(earlier, "tool_calls", ()):
            if call["id"] == call_id:
                return " ".join([*found, *(str(value) for value in call["args"].values())])
    return " ".join(found)
