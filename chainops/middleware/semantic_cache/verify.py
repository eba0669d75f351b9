"""A second opinion on a hit: a model says whether two questions mean the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chainops.calls import ModelCall

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["Verifier"]

ASK = (
    "Do these two questions ask for exactly the same, so that one answer fits both? Answer with yes or no.\n\n"
    "Question 1: {one}\nQuestion 2: {other}"
)


class Verifier:
    """Asks a chat model for yes or no.

    Args:
        model: is called by itself, not through the layers of the pipeline.
    """

    def __init__(self, model: BaseChatModel) -> None:
        self.model = model

    async def same(self, call: ModelCall, one: str, other: str) -> bool:
        """True only for a clear yes; a model that fails says no."""
        from langchain_core.messages import HumanMessage

        with call.recorder.span("verify", input={"question": one, "known": other}) as span:
            try:
                answer = await self.model.ainvoke(
                    [HumanMessage(ASK.format(one=one, other=other))], {"callbacks": []}, temperature=0
                )
            except Exception as error:  # noqa: BLE001  whatever a model raises, the question is asked then
                span.set(failed=f"{type(error).__name__}: {error}")
                return False
            span.result(answer)
            return str(answer.text).strip().lower().startswith("yes")
