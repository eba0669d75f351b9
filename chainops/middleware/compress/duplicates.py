"""What was said before, word for word or nearly so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chainops.lexical.words import content_stems, same_key
from chainops.middleware.compress.asking import question_before
from chainops.middleware.compress.draft import Draft
from chainops.middleware.compress.groups import kind_of
from chainops.middleware.compress.units import units_of

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

__all__ = ["drop_duplicates", "without_repeats"]

LEAST_WORDS = 5
_LEANS = re.compile(
    r"\b(?:he|she|it|they|this|these|that|those|his|her|its|their|him|them|such|there)\b", re.IGNORECASE
)


def without_repeats(
    text: str, said: dict[tuple[str, ...], int], place: int, *, near: bool, asked: frozenset[str] = frozenset()
) -> tuple[str, set[int]]:
    """``text`` without units that ``said`` knows, and in which places these were said first.

    Args:
        said: what was said so far, by key, and where; is added to.
        near: also units that differ in case, articles, fillers and marks only. Numbers, names, negations and the order
            of words must be equal in any case.
        asked: stems of what is asked. A sentence that has one of them, or that leans on the one before it ("It weighs 3
            kg."), may say the same of something else: it goes only with all of its paragraph that stands before it.
    """
    kept, sources, last, fresh = [], set(), 0, -1
    for unit in units_of(text):
        words = unit.text.split()
        if len(words) < LEAST_WORDS:
            fresh = unit.paragraph if not unit.head else fresh
            continue
        key = same_key(unit.text) if near and not unit.whole else tuple(words)
        first = said.setdefault(key, place)
        alone = (
            fresh == unit.paragraph
            and not unit.whole
            and (_LEANS.search(unit.text) or asked & content_stems(unit.text))
        )
        if (first != place or key in kept) and not alone:
            sources.add(first)
            text = text[: last + unit.start] + text[last + unit.end :]
            last -= unit.end - unit.start
        else:
            kept.append(key)
            fresh = unit.paragraph
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
        asked = content_stems(question_before(draft.messages, index))
        text, sources = without_repeats(message.content, said, draft.places[index], near=near, asked=asked)
        if sources and index in changeable:
            if not text.strip():
                first = min(sources - {draft.places[index]}, default=draft.places[index])
                text = f"[the same as message {first}]" if first != draft.places[index] else message.content
            if draft.put(index, _with(message, text), "duplicate"):
                draft.sources |= {(first, draft.places[index]) for first in sources}


def _with(message: BaseMessage, text: str) -> BaseMessage:
    return message.model_copy(update={"content": text})
