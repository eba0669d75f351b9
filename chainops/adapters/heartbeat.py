"""Keeps LangGraph's idle timeout from firing while a layer waits: only the node itself can be idle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from langgraph._internal._constants import CONF, CONFIG_KEY_RUNTIME

__all__ = ["Heartbeat"]


class Heartbeat:
    """Calls ``runtime.heartbeat()`` four times per idle timeout, except while the node's own code runs.

    Does nothing for a node without an idle timeout (``idle`` in seconds is None).
    """

    def __init__(self, idle: float | timedelta | None, config: Mapping[str, Any]) -> None:
        runtime = None if idle is None else (config.get(CONF) or {}).get(CONFIG_KEY_RUNTIME)
        self._beat: Callable[[], None] | None = getattr(runtime, "heartbeat", None)
        self._seconds = (idle.total_seconds() if isinstance(idle, timedelta) else idle or 0.0) / 4
        self._timer: asyncio.TimerHandle | None = None

    def _tick(self) -> None:
        if self._beat is not None:
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
        """Around the node's own code, whose clock starts now."""
        self._stop()
        if self._beat is not None:
            self._beat()
        try:
            yield
        finally:
            self._tick()
