"""A node's sequence without the work that nobody watches.

For each node LangGraph starts one task to give the first step a context of its own, another to report the end to
callback handlers, and makes a child callback manager for every writer. Where there is no handler, none of that can
be seen. Leaving it out pays for the pipeline: see reference/benchmarks.md.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from contextvars import Context
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_async_callback_manager_for_config, patch_config
from langgraph._internal._runnable import RunnableSeq, set_config_context
from langgraph.pregel._write import ChannelWrite

__all__ = ["NodeSequence"]


class NodeSequence(RunnableSeq):
    """The node inside the pipeline, then its writers. Whoever has callback handlers gets LangGraph's own way."""

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        manager = None if config is None else get_async_callback_manager_for_config(config)
        if config is None or manager is None or manager.handlers:
            return await super().ainvoke(input, config, **kwargs)
        run = await manager.on_chain_start(None, input, run_id=config.pop("run_id", None))
        config = patch_config(config, callbacks=run.get_child("seq:step:1"))
        with set_config_context(config) as context:
            value = await _InContext(self.steps[0].ainvoke(input, config, **kwargs), context)
        for number, writer in enumerate(self.steps[1:], 2):
            if type(writer) is not ChannelWrite:  # a conditional edge may call models, a plain write calls nobody
                config = patch_config(config, callbacks=run.get_child(f"seq:step:{number}"))
            value = await writer.ainvoke(value, config)
        return value


class _InContext:
    """Awaits a coroutine inside a context: what it sets is not seen outside, and no task is made for it."""

    __slots__ = ("_context", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], context: Context) -> None:
        self._coroutine, self._context = coroutine, context

    def __await__(self) -> Generator[Any, Any, Any]:
        run, step, value = self._context.run, self._coroutine.send, None
        while True:
            try:
                waits_for = run(step, value)
            except StopIteration as done:
                return done.value
            try:
                value, step = (yield waits_for), self._coroutine.send
            except BaseException as error:  # noqa: BLE001 - cancellation and all: it belongs to the coroutine
                value, step = error, self._coroutine.throw
