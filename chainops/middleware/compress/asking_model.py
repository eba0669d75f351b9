"""Asks the node's model, or another one, for a summary: through every layer inside of this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainops.calls import ModelCall, ModelNext, ModelResult, discard
from chainops.guard import Guard
from chainops.middleware.compress.summary import INSTRUCTION, Ask
from chainops.recorder import NO_RECORDER

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["asker"]


def asker(call: ModelCall, call_next: ModelNext, summarizer: BaseChatModel | None) -> Ask:
    """What asks in the place of ``call``: rails, pii, caches and retries see it, the person's stream does not."""
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    async def engine(inner: ModelCall) -> ModelResult:
        assert summarizer is not None
        message = await summarizer.ainvoke(list(inner.messages), {"callbacks": []}, **inner.params)
        return ModelResult(message=message if isinstance(message, AIMessage) else AIMessage(str(message)))

    async def ask(text: str, most: int) -> str:
        changes: dict[str, Any] = {
            "messages": (SystemMessage(INSTRUCTION), HumanMessage(text)),
            "params": {"max_tokens": most},
            "stop": None,
            "emit": discard,
            "guard": Guard(),
        }
        if summarizer is not None:
            changes |= {"engine": engine, "model": summarizer, "streaming": False}
            changes["name"] = str(getattr(summarizer, "model_name", "") or type(summarizer).__name__)
        with call.recorder.span("compress.ask", input=text) as span:
            recorder: Any = span if hasattr(span, "annotate") else NO_RECORDER
            result = await call_next(call.replace(**changes, recorder=recorder))
            span.result(result.text)
        return result.text

    return ask
