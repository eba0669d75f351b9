"""What stands in place of something that was refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chainops.calls import NodeCall, ToolCall
from chainops.middleware.rails.leaves import Swap, rebuilt
from chainops.middleware.rails.verdict import Place, RailBlocked

__all__ = ["Refusal", "refused_node", "refused_tool", "without"]


class Refusal(Exception):
    """A block that is to be answered instead of raised.

    Args:
        error: the first block. place: of the whole value. swap: what stands for its texts.
        refused: every text that was refused.
    """

    def __init__(
        self, error: RailBlocked, place: Place, swap: Swap, refused: Mapping[tuple[Place, str], RailBlocked]
    ) -> None:
        super().__init__(str(error))
        self.error, self.place, self.swap, self.refused = error, place, swap, refused


def refused_node(call: NodeCall, error: RailBlocked, text: str) -> Any:
    """The update of a node that did not run: the refusal as its message; without messages there is no place for it."""
    from langchain_core.messages import AIMessage

    state = call.input
    has = "messages" in state if isinstance(state, Mapping) else hasattr(state, "messages")
    if call.kind != "node" or not has:
        raise error
    return {"messages": [AIMessage(text, response_metadata={"finish_reason": "content_filter"})]}


def refused_tool(call: ToolCall, error: RailBlocked, text: str) -> Any:
    """The result of a tool that did not run; a retriever found nothing."""
    if call.kind == "retriever":
        return []
    if call.call_id is None:
        return text
    from langchain_core.messages import ToolMessage

    return ToolMessage(text, tool_call_id=call.call_id, name=call.name, status="error")


def without(result: Any, refusal: Refusal, text: str) -> Any:
    """A result with the refusal in place of what was refused; refused documents are left out."""
    if isinstance(result, list) and result and all(hasattr(item, "page_content") for item in result):
        result = [item for item in result if ("retrieval", item.page_content) not in refusal.refused]
    swap = {key: text if value is None else value for key, value in refusal.swap.items()}
    return rebuilt(result, refusal.place, swap)
