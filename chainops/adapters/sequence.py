"""A node's sequence without the work that nobody watches.

For each node LangGraph makes a run for callback handlers and a child of it for every step, starts one task to give
the first step a context of its own, and another to report the end. Where there is no handler, nobody can see any of
it. Leaving it out pays for the pipeline: see reference/benchmarks.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import Context
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_async_callback_manager_for_config
from langgraph._internal._runnable import RunnableSeq, set_config_context
from langgraph.pregel._write import ChannelWrite

__all__ = ["NodeSequence"]


class NodeSequence(RunnableSeq):
    """The node inside the pipeline, then its writers. Whoever has callback handlers gets LangGraph's own way."""

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        manager = None if config is None else get_async_callback_manager_for_config(config)
        if config is None or manager is None or manager.handlers:
            return await super().ainvoke(input, config, **kwargs)
        config.pop("run_id", None)
        config.pop("run_name", None)  # the node's own, which must not name the first run inside it
        with set_config_context(config) as context:
            value = await _InContext(self.steps[0].ainvoke(input, config, **kwargs), context)
        for writer in self.steps[1:]:
            if type(writer) is ChannelWrite:  # a plain write, which has nothing to wait for
                writer._write(value, config)
            else:
                value = await writer.ainvoke(value, config)
        return value


class _InContext:
    """Awaits a coroutine inside a context: what it sets is not seen outside, and no task is made for it.

    A node that cancels its own task would with LangGraph cancel one that is the node's alone, which LangGraph
    reports as a failure of the node. Here it is the task of the whole node, which must not look cancelled by others.
    """

    __slots__ = ("_context", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], context: Context) -> None:
        self._coroutine, self._context = coroutine, context

    def __await__(self) -> Generator[Any, Any, Any]:
        run, step, value = self._context.run, self._coroutine.send, None
        task, seen, by_others = asyncio.current_task(), 0, False
        if task is None:
            raise AssertionError("LangGraph runs a node in a task")
        while True:
            by_others = by_others or task.cancelling() > seen
            try:
                waits_for = run(step, value)
            except StopIteration as done:
                return done.value
            except asyncio.CancelledError:
                while not by_others and task.cancelling():
                    task.uncancel()
                raise
            seen = task.cancelling()
            try:
                value, step = (yield waits_for), self._coroutine.send
            except BaseException as error:  # noqa: BLE001 - cancellation and all: it belongs to the coroutine
                value, step = error, self._coroutine.throw
