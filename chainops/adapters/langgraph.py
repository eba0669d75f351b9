"""``instrument(graph, pipeline)``: a copy of a compiled LangGraph graph whose nodes run through the pipeline.

The node's own runnable is left alone (drawing, cache keys, timeouts and subgraph discovery read it); only what
LangGraph executes is wrapped. Every private name of LangGraph that chainops relies on is imported in this
package; the pin in pyproject and LangGraph's own test suite guard them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeVar

from langchain_core.runnables import Runnable
from langgraph._internal._runnable import RunnableSeq
from langgraph.pregel import Pregel
from langgraph.pregel._read import DEFAULT_BOUND, PregelNode

from chainops.adapters.node import NodeStep, route_writers
from chainops.adapters.run import RunHooks
from chainops.adapters.scope import Plan, plan_of
from chainops.adapters.sequence import NodeSequence
from chainops.errors import SetupError
from chainops.pipeline import NodeSettings, Pipeline

__all__ = ["instrument", "instrumented"]

Graph = TypeVar("Graph", bound=Pregel)  # type: ignore[type-arg]


class InstrumentedNode(PregelNode):
    """A node of which only the executed runnable is wrapped."""

    plan: Plan
    node_name: str

    def copy(self, update: dict[str, Any]) -> PregelNode:
        plain = PregelNode.__new__(PregelNode)
        plain.__dict__.update({k: v for k, v in self.__dict__.items() if k not in ("plan", "node_name")})
        return _instrument_node(plain.copy(update), self.plan, self.node_name)

    @cached_property
    def node(self) -> Runnable[Any, Any] | None:
        """What LangGraph runs: the node inside the pipeline, then its writers, with routes inside the pipeline."""
        writers = route_writers(self.flat_writers, self.plan, self.node_name)
        if self.bound is DEFAULT_BOUND:
            if len(writers) > 1:
                return RunnableSeq(*writers, trace_policy=self.trace_policy)
            return writers[0] if writers else None
        inner = self.bound
        if isinstance(inner, Pregel):
            inner = _with_nodes(inner, self.plan)
        step = NodeStep(inner, self.plan, self.node_name, _own_settings(self, self.node_name), self.timeout)
        return NodeSequence(step, *writers, trace_policy=self.trace_policy) if writers else step


def _own_settings(node: PregelNode, name: str) -> NodeSettings:
    metadata = node.metadata or {}
    if "chainops" not in metadata:
        return NodeSettings()
    return NodeSettings.parse(metadata["chainops"], f"node {name!r} (metadata['chainops'])")


def _instrument_node(node: PregelNode, plan: Plan, name: str) -> InstrumentedNode:
    if isinstance(node, InstrumentedNode):
        inner = node.plan
        plan = Plan(plan.pipeline.merge(inner.pipeline), plan.graph, plan.auto or inner.auto)
    plan.pipeline.check_off(_own_settings(node, name), f"node {name!r}")
    new = InstrumentedNode.__new__(InstrumentedNode)
    new.__dict__.update(
        {k: v for k, v in node.__dict__.items() if k not in ("node", "flat_writers", "input_cache_key")}
    )
    new.plan, new.node_name = plan, name
    return new


def _with_nodes(graph: Graph, plan: Plan) -> Graph:
    """A shallow copy whose nodes are wrapped; ``graph.copy()`` would lose mappers that LangGraph sets later."""
    new = copy.copy(graph)
    inner = Plan(plan.pipeline, graph.name, plan.auto)
    new.nodes = {name: _instrument_node(node, inner, name) for name, node in graph.nodes.items()}
    return new


def instrument(graph: Graph, pipeline: Pipeline | Sequence[Any], *, auto: bool = True) -> Graph:
    """A copy of ``graph`` in which every node, route, task and the whole run goes through ``pipeline``.

    Works for compiled ``StateGraph``s, ``create_agent``, ``@entrypoint``, raw ``Pregel`` and their subgraphs at any
    depth. The original graph and its builder stay untouched. Instrumenting a copy again puts the new layers
    around the old ones; a layer object that stands in both runs once.

    Args:
        graph: a compiled graph.
        pipeline: a :class:`~chainops.Pipeline`, or a list of middleware, outermost first.
        auto: also intercept chat models, tools, retrievers and graphs that nodes call, without wrapping them by
            hand. This patches the base classes of LangChain once per process; the patches do nothing outside
            nodes of graphs instrumented this way. With False, use :func:`chainops.wrap` for each model.

    Raises:
        SetupError: ``graph`` is not compiled, the node metadata under ``"chainops"`` is malformed, or the graph is
            instrumented already and the layers of both do not go together (a name twice, a broken order constraint).
    """
    if not isinstance(graph, Pregel):
        hint = "Call .compile() first." if hasattr(graph, "compile") else "Pass a compiled LangGraph graph."
        raise SetupError(f"Cannot instrument a {type(graph).__name__}", hint=hint, code="setup.graph")
    if not isinstance(pipeline, Pipeline):
        pipeline = Pipeline(pipeline)
    if auto:
        from chainops.adapters.ambient import install

        install()
    if (known := plan_of(graph)) is not None:
        pipeline.merge(known.pipeline).check()
    _check_subgraphs(graph, pipeline)
    return instrumented(graph, pipeline, auto=auto)


def _check_subgraphs(graph: Any, pipeline: Pipeline) -> None:
    """Find typing errors in the nodes of subgraphs now; they are wrapped when they first run."""
    for node in graph.nodes.values():
        if isinstance(node.bound, Pregel):
            for name, inner in node.bound.nodes.items():
                pipeline.check_off(_own_settings(inner, name), f"node {name!r} of {node.bound.name!r}")
            _check_subgraphs(node.bound, pipeline)


def instrumented(graph: Graph, pipeline: Pipeline, *, auto: bool) -> Graph:
    """As :func:`instrument`, in the middle of a run: nothing is checked that could only have been mended before."""
    hooked = _hooked(type(graph))
    new: Graph = object.__new__(hooked)
    new.__dict__.update(_with_nodes(graph, Plan(pipeline, graph.name, auto)).__dict__)
    return new


_CLASSES: dict[type, type] = {}


def _hooked(cls: type) -> type:
    """A subclass of the graph's class, under the same name, whose runs go through the pipeline."""
    if issubclass(cls, RunHooks):
        return cls
    if cls not in _CLASSES:
        names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
        _CLASSES[cls] = type(cls.__name__, (RunHooks, cls), names)
    return _CLASSES[cls]
