"""Which adapters are in the model now, and which were loaded. Runs in the session's thread."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from chainops.engines.llama.adapter_file import check_adapter_file
from chainops.engines.llama.loading import Loaded
from chainops.engines.llama.model_file import file_sha256
from chainops.engines.llama.request import AdapterUse

__all__ = ["Adapting"]


class Adapting:
    """Loads adapters when they are first asked for, and keeps them until the model is unloaded."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._known: dict[tuple[str, str], tuple[Any, str]] = {}
        self._now: tuple[tuple[str, float], ...] = ()

    def use(self, wanted: tuple[AdapterUse, ...]) -> tuple[tuple[AdapterUse, ...], bool]:
        """Let the model compute with ``wanted`` only; returns them with their hashes, and True if that is a change.

        After a change, what was computed before belongs to other weights and must be forgotten.

        Raises:
            SetupError: codes ``setup.adapter``, ``setup.model_file``, ``setup.model_hash``. Nothing has changed then.
            CallError: code ``call.adapter``.
        """
        found = [self._load(use) for use in wanted]
        now = tuple((sha256, use.scale) for (_, sha256), use in zip(found, wanted, strict=True))
        changed = now != self._now
        if changed:
            handles = [(handle, use.scale) for (handle, _), use in zip(found, wanted, strict=True)]
            self._loaded.native.use_adapters(handles)
            self._now = now
        return tuple(replace(use, sha256=sha256) for (_, sha256), use in zip(found, wanted, strict=True)), changed

    def _load(self, use: AdapterUse) -> tuple[Any, str]:
        key = (use.path, use.sha256)
        if key not in self._known:
            file = check_adapter_file(use.path, base=self._loaded.file, sha256=use.sha256)
            sha256 = use.sha256 or file_sha256(file.path)
            self._known[key] = (self._loaded.native.load_adapter(Path(use.path)), sha256)
        return self._known[key]
