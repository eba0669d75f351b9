"""All findings, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from chainops.app.doctor import application, base, models
from chainops.app.doctor.finding import Finding

__all__ = ["examine"]


def examine(settings: Path | None = None) -> Iterator[Finding]:
    """Look at everything, in order; nothing is changed, and nothing that is wrong raises.

    Args:
        settings: the settings file; else ``chainops.toml`` in the working directory.
    """
    yield from base.python()
    yield from base.sqlite()
    yield from base.packages()
    yield from models.llama()
    tree, finding = application.settings_here(settings)
    if tree is None:
        yield finding
        yield from base.disk(Path())
        return
    yield from models.model_files(tree)
    yield from models.embedder(tree)
    yield finding
    yield from application.pipeline(tree)
    yield from application.trace_file(tree)
    yield from application.plugins(tree)
    yield from base.disk(tree.trace.path.parent)
