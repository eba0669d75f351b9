"""The graphs on which the checks run a middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypedDict

from chainops.pipeline import Middleware, Pipeline

__all__ = ["Boom", "Make", "graph_of", "model_of", "nodes_that"]

Make = Callable[[], Middleware]


class Boom(ValueError):
    """Raised by engines, to see whether it arrives as it is."""


def graph_of(node: Any, make: Make, *, checkpointer: bool = False) -> Any:
    from langchain_core.messages import AnyMessage
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import START, StateGraph
    from langgraph.graph.message import add_messages

    from chainops.adapters.langgraph import instrument

    state = TypedDict("state", {"messages": Annotated[list[AnyMessage], add_messages], "said": str})  # noqa: UP013
    builder = StateGraph(state)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    return instrument(builder.compile(checkpointer=InMemorySaver() if checkpointer else None), Pipeline([make()]))


def model_of(script: list[Any], **options: Any) -> Any:
    from chainops.testing.model import ScriptedModel

    return ScriptedModel(script, **options)


def _tool(work: Callable[[], Awaitable[str]]) -> Any:
    from langchain_core.tools import StructuredTool

    return StructuredTool.from_function(coroutine=work, name="work", description="Does the work.")


def nodes_that(work: Callable[[], Awaitable[str]], went_on: list[str] | None = None) -> dict[str, Any]:
    """Nodes that do ``work`` themselves, in a model and in a tool, by kind; who gets past it stands in ``went_on``."""
    from chainops.testing.model import ScriptedModel

    class Worker(ScriptedModel):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
            await work()
            return await super()._agenerate(*args, **kwargs)

    model, tool = Worker(script=["done"] * 20), _tool(work)
    past = [] if went_on is None else went_on

    async def node(state: Any) -> Any:
        said = await work()
        past.append("node")
        return {"said": said}

    async def model_node(state: Any) -> Any:
        message = await model.ainvoke("hi")
        past.append("model")
        return {"messages": [message]}

    async def tool_node(state: Any) -> Any:
        said = str(await tool.ainvoke({}))
        past.append("tool")
        return {"said": said}

    return {"node": node, "model": model_node, "tool": tool_node}
