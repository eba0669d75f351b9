"""Keeps LangGraph's idle timeout from firing while a layer waits: only the node itself can be idle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any

from langgraph._internal._constants import CONF, CONFIG_KEY_RUNTIME

__all__ = ["Heartbeat"]


class Heartbeat:
    """Calls ``runtime.heartbeat()`` four times per idle timeout, except while the node's own code runs."""

    def __init__(self, beat: Callable[[], None], seconds: float) -> None:
        self._beat, self._seconds = beat, seconds
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, idle: float | timedelta | None, config: Mapping[str, Any]) -> Any:
        """A heartbeat for a node with an idle timeout; for any other node one that does nothing."""
        beat = getattr((config.get(CONF) or {}).get(CONFIG_KEY_RUNTIME), "heartbeat", None) if idle is not None else None
        if idle is None or beat is None:
            return _NEVER
        return cls(beat, (idle.total_seconds() if isinstance(idle, timedelta) else idle) / 4)

    def _tick(self) -> None:
        self._beat()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._tick)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def __enter__(self) -> Heartbeat:
        self._tick()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Around the node's own code."""
        self._stop()
        self._beat()
        try:
            yield
        finally:
            self._tick()


class _Never:
    __slots__ = ()

    def __enter__(self) -> _Never:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def pause(self) -> nullcontext[None]:
        return _NOTHING


_NOTHING: nullcontext[None] = nullcontext()
_NEVER = _Never()
