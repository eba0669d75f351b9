"""The boundary of a graph: what dialog rails say to a whole run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chainops.calls import NodeCall, NodeNext
from chainops.errors import is_control_flow
from chainops.middleware.rails.asked import inside
from chainops.middleware.rails.texts import talk_in
from chainops.middleware.rails.verdict import RailBlocked
from chainops.recorder import SpanHandle

if TYPE_CHECKING:
    from chainops.middleware.rails.nemo.dialog import Dialog

__all__ = ["at_the_boundary"]


async def at_the_boundary(dialog: Dialog, call: NodeCall, call_next: NodeNext, *, answers: bool) -> Any:
    """Run the graph, unless the dialog has something to say.

    Args:
        answers: its words become the run's last message, where the state has messages; otherwise they are raised.

    Raises:
        RailBlocked: the dialog spoke, or failed to judge.
    """
    talk = () if call.parent is not None else talk_in(call.input)
    if not talk:
        return await call_next(call)
    answered = max((i for i, (role, _) in enumerate(talk) if role == "assistant"), default=-1)
    for i in range(answered + 1, len(talk)):  # NeMo looks at the last turn only: each new one is the last once
        if talk[i][0] == "user" and (said := await _said(dialog, call, talk[: i + 1])) is not None:
            break
    else:
        return await call_next(call)
    call.annotate("rails", blocked={"rail": "dialog", "category": "dialog", "place": "input"})
    messages = call.input.get("messages") if isinstance(call.input, Mapping) else None
    if not answers or messages is None:
        raise RailBlocked("dialog", said, "dialog", place="input")
    from langchain_core.messages import AIMessage, convert_to_messages

    before = convert_to_messages(messages if isinstance(messages, list | tuple) else [messages])
    return {**call.input, "messages": [*before, AIMessage(said, response_metadata={"finish_reason": "content_filter"})]}


async def _said(dialog: Dialog, call: NodeCall, talk: tuple[tuple[str, str], ...]) -> str | None:
    opened: SpanHandle | None = None
    label, comment = "block", ""
    try:
        with call.recorder.span("rail dialog", input=talk[-1][1]) as span, inside(span):
            opened = span
            text, asked = await dialog.answer(talk)
            label, comment = ("allow", "") if text is None else ("block", "the dialog answered")
            span.set(place="input", decision=label, model_calls=asked)
        return text
    except Exception as error:
        if is_control_flow(error):
            raise
        comment = "it took too long" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
        raise RailBlocked("dialog", comment, "error", place="input", failed=True) from None
    finally:
        if opened is not None:
            opened.score("rail.dialog", label, source="rule", comment=comment)
