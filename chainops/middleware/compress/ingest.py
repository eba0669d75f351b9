"""Results of tools and retrievers made shorter once, where they come in; from then on a conversation only grows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chainops.calls import NodeCall, ToolCall
from chainops.middleware.compress.asking import question_in
from chainops.middleware.compress.clearing import FETCH
from chainops.middleware.compress.groups import kind_of
from chainops.middleware.compress.stages import Strategy
from chainops.middleware.compress.text import compress_text

if TYPE_CHECKING:
    from chainops.embedding import Embedder

__all__ = ["ORIGINAL", "shorter_result"]

ORIGINAL = "chainops_original"
"""Under this key the artifact of a shortened ``ToolMessage`` has the whole result."""


async def shorter_result(
    call: ToolCall, result: Any, most: int, count: Callable[[str], int], strategy: Strategy, embedder: Embedder | None
) -> tuple[Any, int, int]:
    """``result`` with its long texts in at most ``most`` tokens each, and the tokens before and after.

    A ``ToolMessage`` keeps the whole result as its artifact, unless it has one. Of a retriever's documents each is
    made shorter; their metadata stay. Anything that is no text stays as it is.
    """
    query = _question(call)
    before = after = 0

    async def short(text: str) -> str:
        nonlocal before, after
        if len(text.encode("utf-8", "replace")) <= most:
            return text
        found = await compress_text(text, most, count=count, query=query, strategy=strategy, embedder=embedder)
        before, after = before + found.before, after + found.after
        return found.text if found.after < found.before else text

    if call.name == FETCH:
        return result, 0, 0
    if isinstance(result, str):
        result = await short(result)
    elif call.kind == "retriever" and isinstance(result, Sequence):
        result = [await _document(document, short) for document in result]
    elif getattr(result, "type", "") == "tool" and isinstance(result.content, str) and result.status != "error":
        text = await short(result.content)
        if text != result.content:
            changes: dict[str, Any] = {"content": text}
            if result.artifact is None:
                changes["artifact"] = {ORIGINAL: result.content}
            result = result.model_copy(update=changes)
    return result, before, after


async def _document(document: Any, short: Callable[[str], Any]) -> Any:
    text = getattr(document, "page_content", None)
    if not isinstance(text, str):
        return document
    left = await short(text)
    return document if left == text else document.model_copy(update={"page_content": left})


def _question(call: ToolCall) -> str:
    """What the person asked last, as far as the node knows it, and the arguments."""
    found: list[str] = []
    parent = call.parent
    while parent is not None and not isinstance(parent, NodeCall):
        parent = parent.parent
    state = parent.input if parent is not None else None
    messages = state.get("messages", ()) if isinstance(state, Mapping) else state if isinstance(state, list) else ()
    for message in reversed(messages):
        if hasattr(message, "content") and kind_of(message) == "human":
            found += question_in(message.text)
            break
    args = call.args.values() if isinstance(call.args, Mapping) else [call.args]
    return " ".join([*found, *(str(value) for value in args)])
