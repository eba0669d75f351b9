"""What is set for one node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chainops.errors import SetupError

__all__ = ["NO_SETTINGS", "NodeSettings"]


class NodeSettings:
    """What is set for one node: middleware switched off, and values that middleware read from ``call.metadata``."""

    __slots__ = ("metadata", "off")

    def __init__(self, off: Iterable[str] = (), metadata: Mapping[str, Any] | None = None) -> None:
        self.off = frozenset(off)
        self.metadata: Mapping[str, Any] = dict(metadata or {})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NodeSettings) and (self.off, self.metadata) == (other.off, other.metadata)

    def __hash__(self) -> int:
        return hash(self.off)

    @classmethod
    def parse(cls, value: Any, where: str) -> NodeSettings:
        """From ``{"off": [names], "<middleware>": {...}}``; anything else is a ``SetupError`` that names ``where``."""
        if not isinstance(value, Mapping):
            raise SetupError(
                f"Settings of {where} are {value!r}, not a table",
                hint='Write {"off": ["cache"]} or {"<middleware>": {...}}.',
                code="setup.node",
            )
        off = value.get("off", ())
        if (
            isinstance(off, str)
            or not isinstance(off, Sequence | set | frozenset)
            or not all(isinstance(n, str) for n in off)
        ):
            raise SetupError(
                f"'off' of {where} is {off!r}, not a list of middleware names",
                hint='Write "off": ["cache"].',
                code="setup.node",
            )
        return cls(off, {k: v for k, v in value.items() if k != "off"})

    def merged(self, other: NodeSettings) -> NodeSettings:
        """Both together; where they meet, ``other`` wins."""
        return NodeSettings(self.off | other.off, {**self.metadata, **other.metadata})


NO_SETTINGS = NodeSettings()
