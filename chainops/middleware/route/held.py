"""The chunks of one deployment's answer."""

from __future__ import annotations

from typing import Any

from chainops.calls import Emit

__all__ = ["Chunks"]


class Chunks:
    """Passes chunks on and knows that it did; or keeps them until the answer is accepted."""

    __slots__ = ("emit", "hold", "kept", "left")

    def __init__(self, emit: Emit, *, hold: bool) -> None:
        self.emit, self.hold, self.left = emit, hold, False
        self.kept: list[Any] = []

    async def __call__(self, chunk: Any) -> None:
        if self.hold:
            self.kept.append(chunk)
            return
        self.left = True
        await self.emit(chunk)

    async def release(self) -> None:
        """The answer is accepted: let out what was kept."""
        kept, self.kept = self.kept, []
        for chunk in kept:
            self.left = True
            await self.emit(chunk)
