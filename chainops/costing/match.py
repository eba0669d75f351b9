"""Which names mean a model: clauses as in genai-prices, on names in small letters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

__all__ = ["equal_names", "matches"]

Clause = Mapping[str, Any]


def matches(clause: Clause, name: str) -> bool:
    """True when ``name`` (in small letters) fits; a clause of an unknown kind fits nothing."""
    for kind, value in clause.items():
        if kind == "or":
            return any(matches(inner, name) for inner in value)
        if kind == "and":
            return all(matches(inner, name) for inner in value)
        if kind == "regex":
            return _compiled(value).search(name) is not None
        text = str(value).lower()
        if kind == "equals":
            return name == text
        if kind == "starts_with":
            return name.startswith(text)
        if kind == "ends_with":
            return name.endswith(text)
        if kind == "contains":
            return text in name
    return False


def equal_names(clause: Clause) -> Iterator[str]:
    """The names that fit word for word, for an index; the others must be tried."""
    if "equals" in clause:
        yield str(clause["equals"]).lower()
    for inner in clause.get("or", ()):
        yield from equal_names(inner)


@lru_cache(maxsize=1000)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
