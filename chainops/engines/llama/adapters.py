"""LoRA adapters of a ``ChatLlama``: named on the object, chosen per call with a scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from pydantic import BaseModel, ConfigDict, Field, field_validator

from chainops.engines.llama.adapter_file import check_adapter_file
from chainops.engines.llama.model_file import file_sha256
from chainops.engines.llama.request import AdapterUse
from chainops.errors import CallError

__all__ = ["AdapterRef", "WithAdapters"]

MAX_SCALE = 1000.0

_hashed: dict[tuple[str, int, int, int], str] = {}


class AdapterRef(BaseModel):
    """Where an adapter lies, and the hash that its file must have (empty: not compared)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str = Field(default="", pattern=r"^([0-9a-fA-F]{64})?$")

    @property
    def known_sha256(self) -> str:
        """The hash that was given, else that of the file, which is read when it is new or has changed. Blocks."""
        if self.sha256:
            return self.sha256.lower()
        path = check_adapter_file(self.path).path
        found = path.stat()
        key = (str(path), found.st_ino, found.st_size, found.st_mtime_ns)
        if key not in _hashed:
            _hashed[key] = file_sha256(path)
        return _hashed[key]


class WithAdapters(BaseChatModel):
    """The part of ``ChatLlama`` that knows adapters."""

    adapters: dict[str, AdapterRef] = Field(default_factory=dict)
    """Adapters that calls may choose: name -> path of a GGUF file, or ``{"path": ..., "sha256": ...}``."""
    adapter: str | dict[str, float] = ""
    """What calls use that do not choose: a name, or ``{name: scale}`` for several or for other scales than 1."""

    @field_validator("adapters", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {name: {"path": str(ref)} if isinstance(ref, (str, Path)) else ref for name, ref in value.items()}

    def chosen_adapters(self, wanted: Any) -> tuple[AdapterUse, ...]:
        """What ``wanted`` (a name, or names with scales; empty: none) means, in the order of names.

        Raises:
            CallError: code ``call.option``: no such adapter, or a scale that is no number from -1000 to 1000.
        """
        scales = {wanted: 1.0} if isinstance(wanted, str) and wanted else wanted or {}
        if not isinstance(scales, Mapping):
            raise CallError(
                f"adapter={wanted!r} is no name",
                hint="Give the name of an adapter, or {name: scale}.",
                code="call.option",
            )
        for name, scale in scales.items():
            if name not in self.adapters:
                raise CallError(
                    f"There is no adapter {name!r} (known: {', '.join(sorted(self.adapters)) or 'none'})",
                    hint="Name its file: ChatLlama(..., adapters={name: path}).",
                    code="call.option",
                )
            number = isinstance(scale, (int, float)) and not isinstance(scale, bool)
            if not number or not math.isfinite(scale) or abs(scale) > MAX_SCALE:
                raise CallError(
                    f"The scale {scale!r} of adapter {name!r} is no number in -1000..1000", code="call.option"
                )
        return tuple(
            AdapterUse(
                name=name,
                path=str(Path(self.adapters[name].path).expanduser().absolute()),
                sha256=self.adapters[name].sha256.lower(),
                scale=float(scale),
            )
            for name, scale in sorted(scales.items())
            if scale
        )

    def adapters_identity(self) -> dict[str, Any]:
        """Hashes of the adapters that calls may choose, and the one that they use else."""
        return {
            "adapters": {name: ref.known_sha256 for name, ref in sorted(self.adapters.items())},
            "adapter": self.adapter,
        }
