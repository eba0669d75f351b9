"""What a node, a route and a task have in common: their calls, and the scope of the code inside."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langgraph._internal._constants import CONF, CONFIG_KEY_CALL, CONFIG_KEY_RUNTIME, CONFIG_KEY_SCRATCHPAD

from chainops.adapters.bridge import run_async
from chainops.adapters.scope import CURRENT, Plan, Scope, new_run
from chainops.calls import NodeCall, NodeSettings

__all__ = ["Boundary", "Inside", "rewind_interrupts"]

NodeKind = Literal["node", "route", "task"]


class Boundary:
    """Builds the calls of one node, route or task and sends them through the layers."""

    def __init__(self, plan: Plan, kind: NodeKind, name: str, own: NodeSettings, runnable: Any) -> None:
        self.plan, self.kind, self.name, self.own, self.runnable = plan, kind, name, own, runnable
        self.pipeline, self.auto = plan.pipeline, plan.auto
        self.settings: dict[str, NodeSettings] = {}

    def call(self, input: Any, config: RunnableConfig | None, engine: Any) -> NodeCall:
        if config is None:
            config = {}
        scope = CURRENT.get()
        if scope is None:
            parent, path, run = None, self.name, new_run(self.plan.graph, config)
        else:
            parent = scope.call
            path, run = f"{parent.path}/{self.name}" if parent.path else self.name, parent.run
        settings = self.settings.get(path)
        if settings is None:
            settings = self.settings[path] = self.pipeline.settings_for(path).merged(self.own)
        runtime = config[CONF].get(CONFIG_KEY_RUNTIME) if CONF in config else None
        info = None if runtime is None else runtime.execution_info
        return NodeCall(
            run=run,
            kind=self.kind,
            name=self.name,
            path=path,
            attempt=1 if info is None else info.node_attempt,
            config=config,
            settings=settings,
            parent=parent,
            engine=engine,
            input=input,
            runnable=self.runnable,
            context=None if runtime is None else runtime.context,
        )

    def run(self, call: NodeCall) -> Awaitable[Any]:
        """Send ``call`` through the layers. Between two nodes there is no scope that they would have to leave."""
        if call.parent is None or call.parent.kind == "run":
            return self.pipeline.chain(call.kind, call.settings.off)(call)
        return run_async(self.pipeline, call)


class Inside(Scope):
    """The scope of user code, entered and left with ``with``; scheduling a ``@task`` in it goes through the pipeline.

    ``is_async``: how this node runs, and with it the tasks that it schedules.
    """

    __slots__ = ("_conf", "_implicit", "_schedule", "_token", "is_async", "plan")

    def __init__(self, boundary: Boundary, call: NodeCall, is_async: bool) -> None:
        self.pipeline, self.call, self.auto, self.inside = boundary.pipeline, call, boundary.auto, boundary.auto
        self.plan, self.is_async = boundary.plan, is_async
        self._schedule: Callable[..., Any] | None = None

    def __enter__(self) -> None:
        config: Any = self.call.config
        if self.call.guard.entries > 1:  # a layer runs the node again: its interrupt() calls count from the first
            rewind_interrupts(config, 0)
        if (conf := config.get(CONF)) is not None and CONFIG_KEY_CALL in conf:
            # changed in place until user code is done: the table is this task's own, and copying it costs more
            # than a layer does
            self._conf, self._schedule = conf, conf[CONFIG_KEY_CALL]
            conf[CONFIG_KEY_CALL] = self.schedule
        # LangGraph has set the config that user code picks up implicitly; a layer may have put another in its place
        same = var_child_runnable_config.get() is config
        self._implicit = None if same else var_child_runnable_config.set(config)
        self._token = CURRENT.set(self)

    def __exit__(self, *error: object) -> None:
        CURRENT.reset(self._token)
        if rewind_interrupts(self.call.config, None):
            self.call.guard.mark().asked = True
        if self._implicit is not None:
            var_child_runnable_config.reset(self._implicit)
        if self._schedule is not None:
            self._conf[CONFIG_KEY_CALL] = self._schedule

    def schedule(self, func: Callable[..., Any], input: Any, **options: Any) -> Any:
        """In place of LangGraph's own function that schedules a task."""
        if self._schedule is None:
            raise AssertionError("tasks are scheduled inside a node")
        from chainops.adapters.task import wrap_task

        return self._schedule(wrap_task(func, self), input, **options)


def rewind_interrupts(config: Mapping[str, Any], to: int | None) -> int | None:
    """Set the index of the next ``interrupt()`` in this node, or with None read it. None: not inside a node.

    A layer that calls ``call_next`` twice must not make the node ask a human twice: the second time, its
    interrupts have to find the answers that the first time got.
    """
    scratchpad = (config.get(CONF) or {}).get(CONFIG_KEY_SCRATCHPAD)
    counter = getattr(scratchpad, "interrupt_counter", None)
    if counter is None:
        return None
    if to is not None:
        counter._counter = itertools.count(to).__next__
        return to
    # read without taking a number: another tool of the same node may be asking at this moment, on its own thread
    return 0 if counter._counter is None else int(counter._counter.__self__.__reduce__()[1][0])
