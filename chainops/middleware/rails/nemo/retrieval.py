"""Retrieval flows: NeMo compiles none of them, so the one that needs no server is done here, document by document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chainops.errors import SetupError
from chainops.middleware.rails.nemo import traps
from chainops.middleware.rails.patterns import PatternRail
from chainops.middleware.rails.rail import Rail

__all__ = ["retrieval_rails"]


def retrieval_rails(nemo: Any, config: Any, path: Path, options: dict[str, Any]) -> Iterator[tuple[str, Rail]]:
    """The rails for ``rails.retrieval.flows``.

    Raises:
        SetupError: a flow that needs a server or Colang.
    """
    for flow in config.rails.retrieval.flows:
        name, _ = nemo.parse_flow(flow)
        if name != "regex check retrieval":
            raise traps.wrong(path, f"has the retrieval flow {flow!r}, which cannot run here", traps.OURS)
        section = config.rails.config.regex_detection
        patterns = getattr(getattr(section, "retrieval", None), "patterns", None)
        if not patterns:
            raise traps.wrong(path, "checks retrieval by patterns and has none under regex_detection.retrieval")
        flags = bool(getattr(section.retrieval, "case_insensitive", False))
        try:
            yield flow, PatternRail(flow, list(patterns), ignore_case=flags, places=("retrieval",), **options)
        except SetupError as error:
            raise traps.wrong(path, error.message) from None
