"""What a layer is: the base of every middleware."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from chainops.calls import Kind, ModelCall, ModelNext, ModelResult, NodeCall, NodeNext, ToolCall, ToolNext
from chainops.held import Versions

__all__ = ["ALL_KINDS", "NODE_KINDS", "Middleware", "Streaming"]

Streaming = Literal["transparent", "window", "buffered"]

NODE_KINDS: frozenset[Kind] = frozenset({"run", "node", "route", "task"})
ALL_KINDS: frozenset[Kind] = NODE_KINDS | {"model", "tool", "retriever"}


class Middleware:
    """Base of every middleware: override any of the three hooks; one instance serves all calls.

    Keep no state of a call on ``self``: calls run at the same time, and from several event loops.
    Keep resources that belong to one event loop (locks, clients) in a
    :class:`~chainops.PerLoop`.

    Class attributes:
        name: unique in a pipeline; unless the class or a base gives one, the class name in snake case.
        outside: names that must stand after this one in the list (checked when the pipeline is built).
        inside: names that must stand before this one.
        kinds: kinds of call that the hooks see; everything but whole runs unless given.
        suspends: False promises that the hooks await nothing but ``call_next`` and ``call.emit``.
            A pipeline of such middleware needs no event loop of its own in synchronous runs.
        streaming: what the layer does to a model's stream. ``transparent``: it passes chunks on as they come
            (changed or not). ``window``: it holds some back. ``buffered``: it changes the result only, so the
            pipeline keeps all chunks back and emits the result in one piece.
    """

    name: ClassVar[str] = "middleware"
    outside: ClassVar[tuple[str, ...]] = ()
    inside: ClassVar[tuple[str, ...]] = ()
    kinds: ClassVar[frozenset[Kind]] = ALL_KINDS - {"run"}
    suspends: ClassVar[bool] = True
    streaming: ClassVar[Streaming] = "transparent"
    _named: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
            cls._named = True
        elif not cls._named:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()

    async def wrap_node_call(self, call: NodeCall, call_next: NodeNext) -> Any:
        """Around a node, route, task or run. Return what it returned, something else, or raise."""
        return await call_next(call)

    async def wrap_model_call(self, call: ModelCall, call_next: ModelNext) -> ModelResult:
        """Around a chat model call."""
        return await call_next(call)

    async def wrap_tool_call(self, call: ToolCall, call_next: ToolNext) -> Any:
        """Around a tool or retriever call."""
        return await call_next(call)

    def describe(self) -> Mapping[str, Any] | None:
        """For versions of chains: the layer's settings as JSON, without secrets; None: its public attributes."""
        return None

    async def in_force(self) -> Versions:
        """For versions of chains: what labels of artifacts mean now to this layer; see ``RunContext.held``."""
        return {}
