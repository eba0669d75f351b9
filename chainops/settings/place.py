"""Where a setting was written: the line of a TOML file, a variable of the environment, or a keyword."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Origins", "lines_of"]

Place = tuple[str, ...]


def lines_of(text: str) -> dict[Place, int]:
    """The line (from 1) of every key and table of a TOML document that is valid.

    A statement is taken as whole as soon as it parses alone, so that values over several lines count to their first.
    """
    found: dict[Place, int] = {}
    table: Place = ()
    waiting, first = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if not waiting and not line.strip().partition("#")[0].strip():
            continue
        first = first or number
        waiting += line + "\n"
        try:
            statement = tomllib.loads(waiting)
        except tomllib.TOMLDecodeError:
            continue
        is_table = waiting.lstrip().startswith("[")
        if is_table:
            table = _only_path(statement)
            found.setdefault(table, first)
        else:
            for place in _paths(statement):
                found.setdefault(table + place, first)
        waiting, first = "", 0
    return found


def _only_path(tree: Any) -> Place:
    """The path of a header: one key in each level, until there is nothing in it."""
    path: Place = ()
    while isinstance(tree, dict | list) and tree:
        if isinstance(tree, list):
            tree = tree[0]
            continue
        key, tree = next(iter(tree.items()))
        path += (key,)
    return path


def _paths(tree: Mapping[str, Any]) -> list[Place]:
    found: list[Place] = []
    for key, value in tree.items():
        found.append((key,))
        if isinstance(value, Mapping):
            found += [(key, *rest) for rest in _paths(value)]
    return found


class Origins:
    """The sources of one tree of settings, and which of them had the last word about a place."""

    def __init__(
        self, file: Path | None, text: str, variables: Mapping[Place, str], keywords: Mapping[str, Any]
    ) -> None:
        self.file, self.text, self.variables, self.keywords = file, text, variables, keywords
        self._lines: dict[Place, int] | None = None

    def of(self, place: Place) -> str:
        """``chainops.toml, line 7``, ``CHAINOPS_TRACE__PTH``, or empty for a keyword and where nothing is known."""
        if _holds(self.keywords, place):
            return ""
        for depth in range(len(place), 0, -1):
            if place[:depth] in self.variables:
                return self.variables[place[:depth]]
        if self.file is None:
            return ""
        if self._lines is None:
            self._lines = lines_of(self.text)
        for depth in range(len(place), 0, -1):
            if place[:depth] in self._lines:
                return f"{self.file}, line {self._lines[place[:depth]]}"
        return str(self.file)


def _holds(tree: Any, place: Place) -> bool:
    for part in place:
        if not isinstance(tree, Mapping) or part not in tree:
            return False
        tree = tree[part]
    return True
