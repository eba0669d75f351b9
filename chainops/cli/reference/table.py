"""Markdown from values, so that every page looks alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["head", "one_line", "table"]


def head(title: str, about: str) -> str:
    """The first lines of a page, which say that it is made."""
    return f"# {title}\n\n{about}\n\nThis page is made from the code (`make reference`); do not edit it.\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; pipes in cells are escaped."""
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def one_line(text: str | None) -> str:
    """The first paragraph of a docstring or a help text in one line, in Markdown."""
    first = (text or "").strip().split("\n\n")[0]
    plain = re.sub(r":\w+:`~?([\w.]+)`", lambda found: f"`{found[1].rpartition('.')[2]}`", " ".join(first.split()))
    return plain.replace("``", "`")


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split()) or " "
