"""Many-shot attacks: a message that holds a whole conversation, so that the model goes on in its manner."""

from __future__ import annotations

import re
from collections import Counter

__all__ = ["turns_within"]

_ROLES = (
    r"user|human|person|customer|question|q|prompt|instruction|input|me|student|assistant|ai|bot|chatbot|model|chatgpt|gpt|"
    r"answer|a|response|output|system|teacher"
)
_TURN = re.compile(rf"^[\s>*#\-\[(<|]*({_ROLES})[\s*\])>|]*(?:\d+)?\s*[:>)\]]", re.IGNORECASE | re.MULTILINE)
_ANSWERS = frozenset(
    ["assistant", "ai", "bot", "chatbot", "model", "chatgpt", "gpt", "answer", "a", "response", "output", "teacher"]
)


def turns_within(text: str) -> int:
    """How many exchanges (something asked, something answered) are written out in ``text``."""
    asked, exchanges = False, 0
    names = Counter[str]()
    for match in _TURN.finditer(text):
        name = match[1].lower()
        names[name] += 1
        if name in _ANSWERS:
            exchanges += asked
            asked = False
        else:
            asked = True
    return exchanges if len(names) >= 2 else 0
