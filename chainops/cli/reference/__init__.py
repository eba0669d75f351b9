"""Reference pages that are made from the code: ``python -m chainops.cli.reference [--check]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from chainops.cli.reference import api, commands, errors, layers, parts, schema, settings, spans

__all__ = ["FOLDER", "PAGES", "stale", "write"]

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference" / "generated"

PAGES: Mapping[str, Callable[[], str]] = {
    "settings.md": settings.page,
    "commands.md": commands.page,
    "errors.md": errors.page,
    "middleware.md": layers.page,
    "span-attributes.md": spans.page,
    "schema.md": schema.page,
    "api.md": api.page,
    "api-parts.md": parts.page,
}


def stale() -> list[str]:
    """Names of the pages that are not what the code says now."""
    return [
        name
        for name, make in PAGES.items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text(encoding="utf-8") != make()
    ]


def write() -> list[str]:
    """Write the pages that are stale; their names."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    changed = stale()
    for name in changed:
        (FOLDER / name).write_text(PAGES[name](), encoding="utf-8")
    return changed
