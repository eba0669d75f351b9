"""What LangChain's agent middleware gets to see of a call: the requests that its hooks know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain.agents.middleware import ModelRequest, ToolCallRequest
from langchain_core.messages import SystemMessage
from langgraph._internal._constants import CONF, CONFIG_KEY_READ, CONFIG_KEY_RUNTIME
from langgraph.prebuilt.tool_node import ToolRuntime
from langgraph.runtime import Runtime

from chainops.calls import Call, ModelCall, ToolCall

__all__ = ["model_request", "tool_request"]


def model_request(call: ModelCall) -> ModelRequest[Any]:
    """The request of ``wrap_model_call``. ``tools`` are as they were bound to the model."""
    messages: list[Any] = list(call.messages)
    system = messages.pop(0) if messages and isinstance(messages[0], SystemMessage) else None
    settings = {key: value for key, value in call.params.items() if key not in ("tools", "tool_choice")}
    return ModelRequest(
        model=call.model,
        messages=messages,
        system_message=system,
        tool_choice=call.params.get("tool_choice"),
        tools=list(call.params.get("tools") or ()),
        state=_state(call, messages),
        runtime=_runtime(call),
        model_settings=settings,
    )


def tool_request(call: ToolCall) -> ToolCallRequest:
    """The request of ``wrap_tool_call``. A call that no model asked for gets an id of its own."""
    args = call.args if isinstance(call.args, dict) else {"input": call.args}
    asked: Any = {"name": call.name, "args": args, "id": call.call_id or f"chainops-{call.name}", "type": "tool_call"}
    state, runtime = _state(call, []), _runtime(call)
    own: Any = ToolRuntime(
        state=state,
        tool_call_id=call.call_id,
        config=dict(call.config),  # type: ignore[arg-type]
        context=runtime.context,
        store=runtime.store,
        stream_writer=runtime.stream_writer,
        tools=[] if call.tool is None else [call.tool],
        execution_info=runtime.execution_info,
        server_info=runtime.server_info,
    )
    return ToolCallRequest(tool_call=asked, tool=call.tool, state=state, runtime=own)


def _state(call: ModelCall | ToolCall, messages: list[Any]) -> Any:
    """The state of the graph as the node around ``call`` got it, where that can be known."""
    above: Call | None = call.parent
    while above is not None and above.kind != "node":
        above = above.parent
    if above is None:
        return {"messages": messages}
    given = getattr(above, "input", None)
    if isinstance(given, Mapping):
        return dict(given["state"] if given.get("__type") == "tool_call_with_context" else given)
    read = (above.config.get(CONF) or {}).get(CONFIG_KEY_READ)
    if _only_tool_calls(given) and read is not None:  # a tool node of an agent gets no state: it reads the channels
        return read(list(read.args[1]), True)
    return {"messages": messages}


def _only_tool_calls(given: Any) -> bool:
    last = given[-1] if isinstance(given, list) and given else None
    return isinstance(last, dict) and last.get("type") == "tool_call"


def _runtime(call: ModelCall | ToolCall) -> Runtime[Any]:
    found = (call.config.get(CONF) or {}).get(CONFIG_KEY_RUNTIME)
    return found if found is not None else Runtime()
