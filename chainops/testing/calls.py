"""Calls made by hand, for unit tests of a single middleware."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessage, HumanMessage

from chainops.calls import ModelCall, ModelResult, NodeCall, RunContext, ToolCall

__all__ = ["model_call", "node_call", "tool_call"]

RUN = RunContext(run_id="00000000-0000-7000-8000-000000000001", thread_id="t1", graph="test")


async def _answer(call: ModelCall) -> ModelResult:
    return ModelResult(message=AIMessage("ok", id="answer-1"))


async def _return_input(call: NodeCall) -> Any:
    return call.input


async def _return_args(call: ToolCall) -> Any:
    return call.args


def model_call(text: str = "hi", **fields: Any) -> ModelCall:
    """A model call with one human message; any field of :class:`~chainops.ModelCall` may be given."""
    defaults: dict[str, Any] = {
        "run": RUN,
        "kind": "model",
        "name": "scripted",
        "path": "node",
        "engine": _answer,
        "messages": (HumanMessage(text),),
    }
    return ModelCall(**{**defaults, **fields})


def node_call(input: Any = None, **fields: Any) -> NodeCall:
    """A node call whose engine returns its input; any field of :class:`~chainops.NodeCall` may be given."""
    defaults: dict[str, Any] = {"run": RUN, "kind": "node", "name": "node", "path": "node", "engine": _return_input}
    return NodeCall(**{**defaults, "input": input, **fields})


def tool_call(args: Any = None, **fields: Any) -> ToolCall:
    """A tool call whose engine returns its arguments; any field of :class:`~chainops.ToolCall` may be given."""
    defaults: dict[str, Any] = {"run": RUN, "kind": "tool", "name": "tool", "path": "node", "engine": _return_args}
    return ToolCall(**{**defaults, "args": args, **fields})
