"""How one call of a local model can fail."""

from __future__ import annotations

from langchain_core.exceptions import ContextOverflowError

from chainops.errors import CallError

__all__ = ["CannotPin", "ContextOverflow", "ModelClosed", "ModelTimeout", "QueueFull", "Truncated"]


class CannotPin(CallError):
    """There is no room to keep a prefix for good."""

    default_code = "call.pin"

    def __init__(self, tokens: int, room: int) -> None:
        super().__init__(
            f"A prefix of {tokens} tokens cannot be pinned: {room} more may be",
            hint="Open the model with a larger n_kept, or call unpin() first.",
        )


class ContextOverflow(CallError, ContextOverflowError):
    """The prompt does not fit into the context. Nothing was generated.

    Also LangChain's ``ContextOverflowError``, which agents know how to react to.
    """

    default_code = "call.context_overflow"

    def __init__(self, prompt_tokens: int, limit: int) -> None:
        super().__init__(
            f"The prompt has {prompt_tokens} tokens, the context holds {limit} and needs one for the answer",
            hint="Shorten the conversation, or open the model with a larger n_ctx.",
        )
        self.prompt_tokens = prompt_tokens
        self.limit = limit


class ModelClosed(CallError):
    """The model was closed before the call, or while it waited or ran."""

    default_code = "call.model_closed"

    def __init__(self) -> None:
        super().__init__("The model is closed", hint="Make a new ChatLlama; close it after its last call.")


class ModelTimeout(CallError):
    """The call did not end within its ``timeout``. It no longer runs."""

    default_code = "call.timeout"
    retryable = True

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The model did not finish within {seconds:g} seconds",
            hint="Give a longer timeout or a smaller max_tokens, or let fewer calls wait for one model.",
        )


class QueueFull(CallError):
    """Too many calls wait for the model already. This one was not taken."""

    default_code = "call.queue_full"
    retryable = True

    def __init__(self, waiting: int) -> None:
        super().__init__(
            f"{waiting} calls wait for the model already",
            hint="Try again later, ask with less at once, or open the model with a larger max_waiting.",
        )


class Truncated(CallError):
    """An answer that had to be a whole object was cut off by ``max_tokens`` or by the end of the context."""

    default_code = "call.truncated"

    def __init__(self, tokens: int) -> None:
        super().__init__(
            f"The answer was cut off after {tokens} tokens, in the middle of an object",
            hint="Give a larger max_tokens or n_ctx, and strings and lists in the schema a maxLength or maxItems.",
        )
        self.tokens = tokens
