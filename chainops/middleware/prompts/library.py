"""Prompts of a registry, ready to render: compiled once per version."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from chainops.errors import ChainopsError
from chainops.middleware.prompts.compile import compile_prompt
from chainops.middleware.prompts.content import Content, check_content
from chainops.middleware.prompts.slots import AnyPrompt, put_together
from chainops.middleware.prompts.template import CompiledPrompt
from chainops.store.artifacts import LATEST, ArtifactVersion
from chainops.store.registry import View

__all__ = ["PromptLibrary", "partial_of"]

MAX_COMPILED = 1000
MAX_WARM = 200


def partial_of(view: View) -> Callable[[str, str], Content]:
    """Finds partials among the versions of a view."""
    return lambda name, sha256: check_content(name, view.by_hash(name, sha256).value())


class PromptLibrary:
    """Compiled versions, the last thousand of them. For all threads."""

    def __init__(self) -> None:
        self._compiled: dict[tuple[str, int, str], CompiledPrompt | Content] = {}
        self._lock = threading.Lock()

    def find(self, view: View, name: str, ref: str | int = LATEST, *, usual: str = LATEST) -> AnyPrompt:
        """What a label, "latest" or a number means in ``view``.

        Args:
            usual: the label that is meant in slots where neither the slot nor ``ref`` names one.

        Raises:
            StoreError: there is no such name, label or version, or it is retired.
            CallError: something stands in a slot that cannot (``prompt.slot``).
        """
        version = view.resolve(name, ref)
        found = self.compiled(view, version)
        if isinstance(found, CompiledPrompt):
            return found
        label = ref if isinstance(ref, str) and not ref.isdecimal() else usual

        def fill(wanted: str, slot_label: str | None) -> tuple[AnyPrompt, str | int]:
            chosen = slot_label or label
            return self.find(view, wanted, chosen, usual=usual), chosen

        return put_together(version.name, version.version, version.sha256, found, fill)

    def compiled(self, view: View, version: ArtifactVersion) -> CompiledPrompt | Content:
        """The version, compiled the first time (milliseconds, then microseconds); one with slots as its content."""
        key = (version.name, version.version, version.sha256)
        found = self._compiled.get(key)
        if found is None:
            content = check_content(version.name, version.value())
            found = content
            if not content.slots:
                found = compile_prompt(
                    version.name, content, version=version.version, sha256=version.sha256, partial=partial_of(view)
                )
            with self._lock:
                if len(self._compiled) >= MAX_COMPILED:
                    del self._compiled[next(iter(self._compiled))]
                self._compiled[key] = found
        return found

    def warm(self, view: View) -> None:
        """Compile what labels point to now, so that no event loop has to. What is wrong waits to be asked for."""
        chosen = {(name, number) for name, entry in view.entries.items() for number in entry.labels.values()}
        for name, number in sorted(chosen)[:MAX_WARM]:
            with suppress(ChainopsError):
                self.compiled(view, view.resolve(name, number))
