"""The prompt cannot be made to fit."""

from __future__ import annotations

from collections.abc import Mapping

from langchain_core.exceptions import ContextOverflowError

from chainops.errors import CallError

__all__ = ["ContextOverflow"]


class ContextOverflow(CallError, ContextOverflowError):
    """The prompt does not fit, and what may be left out was left out. The model was not called.

    Also LangChain's ``ContextOverflowError``, which agents know how to react to.

    Attributes:
        tokens: of the prompt, as short as it could be made.
        limit: tokens that it may have.
        parts: tokens of its parts, the largest first: ``{"message 3 (human)": 4800, "tools": 210}``.
    """

    default_code = "call.context_overflow"

    def __init__(self, tokens: int, limit: int, parts: Mapping[str, int], reserved: str = "") -> None:
        largest = next(iter(parts), "")
        what = f"; the largest part is {largest} with {parts[largest]}" if largest else ""
        super().__init__(
            f"The prompt has {tokens} tokens and may have {limit}{f' ({reserved})' if reserved else ''}{what}",
            hint="Shorten that part, reserve less for the answer, or use a model with a larger window.",
        )
        self.tokens, self.limit, self.parts = tokens, limit, dict(parts)
