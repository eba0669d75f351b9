"""Which adapters the model computes with now, and which were loaded. Runs in the session's thread."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chainops.engines.llama.adapter_file import check_adapter_file
from chainops.engines.llama.loading import Loaded
from chainops.engines.llama.model_file import file_sha256
from chainops.engines.llama.request import AdapterUse

__all__ = ["Adapted", "Adapting"]


@dataclass(frozen=True, slots=True)
class Adapted:
    """The model's weights with adapters added.

    Args:
        key: hashes and scales. What was computed under one key says nothing about another.
        uses: the adapters, with the hashes of their files.
        handles: llama.cpp's adapters and their scales.
    """

    key: Hashable = ()
    uses: tuple[AdapterUse, ...] = ()
    handles: tuple[tuple[Any, float], ...] = ()


class Adapting:
    """Loads adapters when they are first asked for, and keeps them until the model is unloaded."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._known: dict[tuple[str, str], tuple[Any, str]] = {}
        self._now: Hashable = ()

    def find(self, wanted: tuple[AdapterUse, ...]) -> Adapted:
        """The weights with ``wanted`` added.

        Raises:
            SetupError: codes ``setup.adapter``, ``setup.model_file``, ``setup.model_hash``.
        """
        found = [(*self._load(use), use) for use in wanted]
        return Adapted(
            tuple((sha256, use.scale) for _, sha256, use in found),
            tuple(replace(use, sha256=sha256) for _, sha256, use in found),
            tuple((handle, use.scale) for handle, _, use in found),
        )

    def use(self, adapted: Adapted) -> None:
        """Let the model compute with these weights from now on. A change takes some ten microseconds.

        Raises:
            CallError: code ``call.adapter``. Nothing has changed then.
        """
        if adapted.key != self._now:
            self._loaded.native.use_adapters(adapted.handles)
            self._now = adapted.key

    def _load(self, use: AdapterUse) -> tuple[Any, str]:
        key = (use.path, use.sha256)
        if key not in self._known:
            file = check_adapter_file(use.path, base=self._loaded.file, sha256=use.sha256)
            sha256 = use.sha256 or file_sha256(file.path)
            self._known[key] = (self._loaded.native.load_adapter(Path(use.path)), sha256)
        return self._known[key]
