"""The answers of versions that nobody sees yet, beside those that people get."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from chainops.calls import ModelCall, ModelNext
from chainops.calls import discard as _discard
from chainops.guard import Guard
from chainops.middleware.prompts.slots import AnyPrompt
from chainops.per_loop import PerLoop

__all__ = ["Shadows", "answer_unseen"]

log = logging.getLogger("chainops")
MAX_AT_ONCE = 16


class Shadows:
    """Unseen answers under way: at most sixteen per event loop, each in a task of its own, so that nobody waits."""

    def __init__(self) -> None:
        self._tasks: PerLoop[set[asyncio.Task[None]]] = PerLoop(set)

    def start(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do ``work`` beside the caller; False, and nothing, where too much is under way."""
        tasks = self._tasks.get()
        if len(tasks) >= MAX_AT_ONCE:
            work.close()
            return False
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)  # the loop itself keeps no hold on its tasks
        task.add_done_callback(tasks.discard)
        return True

    async def drain(self) -> None:
        """Wait until all that are under way in this event loop have ended."""
        while tasks := set(self._tasks.get()):
            await asyncio.gather(*tasks, return_exceptions=True)


async def answer_unseen(prompt: AnyPrompt, call: ModelCall, call_next: ModelNext) -> None:
    """Ask the model with ``call`` and store its answer under a span ``shadow``; whatever goes wrong stays there."""
    unseen = call.replace(emit=_discard, guard=Guard(), streaming=False)
    try:
        with call.recorder.span("shadow", input=list(call.messages)) as span:
            span.set(prompts={"name": prompt.name, "version": prompt.version, "sha256": prompt.sha256})
            result = await call_next(unseen)
            span.result(result.message)
            span.set(tokens=result.tokens)
    except Exception as error:  # noqa: BLE001  the span says it; the answer that people get must not suffer
        log.debug("The unseen answer of %r failed: %s", prompt, error)
