"""Prompts of a registry, ready to render: compiled once per version."""

from __future__ import annotations

import threading
from collections.abc import Callable

from chainops.middleware.prompts.content import Content, check_content
from chainops.middleware.prompts.template import CompiledPrompt, compile_prompt
from chainops.store.artifacts import LATEST, ArtifactVersion
from chainops.store.registry import View

__all__ = ["PromptLibrary", "partial_of"]

MAX_COMPILED = 1000


def partial_of(view: View) -> Callable[[str, str], Content]:
    """Finds partials among the versions of a view."""
    return lambda name, sha256: check_content(name, view.by_hash(name, sha256).value())


class PromptLibrary:
    """Compiled versions, the last thousand of them. For all threads."""

    def __init__(self) -> None:
        self._compiled: dict[tuple[str, int, str], CompiledPrompt] = {}
        self._lock = threading.Lock()

    def find(self, view: View, name: str, ref: str | int = LATEST) -> CompiledPrompt:
        """What a label, "latest" or a number means in ``view``.

        Raises:
            StoreError: there is no such name, label or version, or it is retired.
        """
        return self.compiled(view, view.resolve(name, ref))

    def compiled(self, view: View, version: ArtifactVersion) -> CompiledPrompt:
        """The version, compiled the first time: milliseconds, then microseconds."""
        key = (version.name, version.version, version.sha256)
        found = self._compiled.get(key)
        if found is None:
            found = compile_prompt(
                version.name,
                version.value(),
                version=version.version,
                sha256=version.sha256,
                partial=partial_of(view),
            )
            with self._lock:
                if len(self._compiled) >= MAX_COMPILED:
                    del self._compiled[next(iter(self._compiled))]
                self._compiled[key] = found
        return found
