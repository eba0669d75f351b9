"""A pipeline as a middleware of LangChain's ``create_agent``.

The other way, one of LangChain's middleware as a chainops layer, is ``agent_layer.py``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from langchain_core.runnables.config import var_child_runnable_config

from chainops.adapters.ambient import install
from chainops.adapters.scope import CURRENT, Scope, new_run
from chainops.calls import NodeCall
from chainops.errors import MissingExtra, SetupError
from chainops.layer import Middleware
from chainops.pipeline import Pipeline

try:
    from langchain.agents.middleware import AgentMiddleware
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "langchain":
        raise
    raise MissingExtra("langchain", package="langchain", needed_for="The bridge to create_agent") from None

__all__ = ["ChainopsMiddleware"]


class ChainopsMiddleware(AgentMiddleware[Any, Any, Any]):
    """A pipeline as a middleware of ``create_agent``: its model and tool hooks run around the agent's calls.

    Models are reached where LangChain calls them last, so that a layer can hold back tokens before any stream shows
    them, and tools where they run. LangChain's own middleware in the list stay outside of it, whatever their place.
    An agent's middleware never sees a node, a route or a run as such: hooks on nodes do not run, each call is a run of
    its own in the trace, and a layer that has nothing but a node hook is refused. For those,
    ``chainops.instrument(agent, pipeline)``; both together run each layer once.

    LangChain takes the presence of a tool hook as a sign that tools may be added while the agent runs: it then draws a
    ``tools`` node for an agent without tools, and an unknown tool is an error message to the model, not a
    ``ValueError``. So there are tool hooks only where a layer wraps tools.

    Args:
        pipeline: a :class:`~chainops.Pipeline`, or a list of layers, outermost first.
        agent: what traces call the agent.

    Raises:
        SetupError: a layer wraps nodes only (``setup.bridge``).
    """

    def __new__(cls, pipeline: Pipeline | Sequence[Middleware], **options: Any) -> ChainopsMiddleware:
        """With tool hooks only where a layer has one: their mere presence changes what LangChain does with an agent."""
        layers = pipeline.middleware if isinstance(pipeline, Pipeline) else pipeline
        if cls is ChainopsMiddleware and any(_has(layer, "wrap_tool_call") for layer in layers):
            return super().__new__(_WithTools)
        return super().__new__(cls)

    def __init__(self, pipeline: Pipeline | Sequence[Middleware], *, agent: str = "agent") -> None:
        super().__init__()
        self.pipeline = pipeline if isinstance(pipeline, Pipeline) else Pipeline(pipeline)
        self.agent = agent
        self.tools = []
        if blind := [layer.name for layer in self.pipeline.middleware if _nodes_only(layer)]:
            raise SetupError(
                f"Middleware {', '.join(map(repr, blind))} wraps nodes only, which an agent's middleware never sees",
                hint="Put the pipeline around the whole agent: chainops.instrument(agent, pipeline).",
                code="setup.bridge",
            )
        install()

    @property
    def name(self) -> str:
        """What LangChain calls it."""
        return f"ChainopsMiddleware({self.agent})"

    def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """LangChain's hook, synchronous."""
        with self._inside("model"):
            return handler(request)

    async def awrap_model_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """LangChain's hook."""
        with self._inside("model"):
            return await handler(request)

    @contextmanager
    def _inside(self, node: str) -> Iterator[None]:
        """While inside, models and tools go through the pipeline, as in a node of an instrumented graph."""
        scope = CURRENT.get()
        if scope is not None:
            inner = Scope(scope.pipeline.merge(self.pipeline), scope.call, True)
        else:
            inner = Scope(self.pipeline, self._call(node), True)
        inner.inside = True
        token = CURRENT.set(inner)
        try:
            yield
        finally:
            CURRENT.reset(token)

    def _call(self, node: str) -> NodeCall:
        config = var_child_runnable_config.get() or {}
        return NodeCall(
            run=new_run(self.agent, config),
            kind="node",
            name=node,
            path=node,
            config=config,
            settings=self.pipeline.settings_for(node),
            engine=_no_engine,
        )


class _WithTools(ChainopsMiddleware):
    def wrap_tool_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
        """LangChain's hook, synchronous."""
        with self._inside("tools"):
            return handler(request)

    async def awrap_tool_call(self, request: Any, handler: Callable[[Any], Awaitable[Any]]) -> Any:
        """LangChain's hook."""
        with self._inside("tools"):
            return await handler(request)


async def _no_engine(call: NodeCall) -> Any:
    raise AssertionError("an agent's middleware never runs a node")


def _nodes_only(layer: Middleware) -> bool:
    own = {hook for hook in ("wrap_node_call", "wrap_model_call", "wrap_tool_call") if _has(layer, hook)}
    return own == {"wrap_node_call"}


def _has(layer: Middleware, hook: str) -> bool:
    return getattr(type(layer), hook) is not getattr(Middleware, hook)
