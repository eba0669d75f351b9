"""What was said before, word for word or nearly so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chainops.lexical.words import same_key
from chainops.middleware.compress.draft import Draft
from chainops.middleware.compress.groups import kind_of
from chainops.middleware.compress.units import units_of

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

__all__ = ["drop_duplicates", "without_repeats"]

LEAST_WORDS = 5


def without_repeats(text: str, said: dict[tuple[str, ...], int], place: int, *, near: bool) -> tuple[str, set[int]]:
    """``text`` without units that ``said`` knows, and in which places these were said first.

    Args:
        said: what was said so far, by key, and where; is added to.
        near: also units that differ in case, articles, fillers and marks only. Numbers, names, negations and the order
            of words must be equal in any case.
    """
    kept, sources, last = [], set(), 0
    for unit in units_of(text):
        words = unit.text.split()
        if len(words) < LEAST_WORDS:
            continue
        key = same_key(unit.text) if near and not unit.whole else tuple(words)
        first = said.setdefault(key, place)
        if first != place or key in kept:
            sources.add(first)
            text = text[: last + unit.start] + text[last + unit.end :]
            last -= unit.end - unit.start
        else:
            kept.append(key)
    return (re.sub(r"\n{3,}", "\n\n", text), sources) if sources else (text, sources)


def drop_duplicates(draft: Draft, *, near: bool, changeable: set[int]) -> None:
    """Leave out of later messages what an earlier one said; the first keeps it, so that the prompt begins as before.

    Args:
        near: see :func:`without_repeats`.
        changeable: indices of messages that may be changed.
    """
    said: dict[tuple[str, ...], int] = {}
    for index, message in enumerate(draft.messages):
        if not isinstance(message.content, str) or kind_of(message) == "system":
            continue
        text, sources = without_repeats(message.content, said, draft.places[index], near=near)
        if sources and index in changeable:
            if not text.strip():
                first = min(sources - {draft.places[index]}, default=draft.places[index])
                text = f"[the same as message {first}]" if first != draft.places[index] else message.content
            if draft.put(index, _with(message, text), "duplicate"):
                draft.sources |= {(first, draft.places[index]) for first in sources}


def _with(message: BaseMessage, text: str) -> BaseMessage:
    return message.model_copy(update={"content": text})
