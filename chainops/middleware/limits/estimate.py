"""How many tokens a model call will take, before it is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chainops.calls import ModelCall, ModelResult

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

__all__ = ["Estimates"]

CHARACTERS = 3.0
ANSWER = 256.0
KEPT = 0.1
MAX_KNOWN = 1000
_MAX_KEYS = ("max_tokens", "max_completion_tokens", "max_new_tokens")


class Estimates:
    """Learns, for each node and model, how many characters make a token and how long answers are.

    A guess is only what is reserved; what counts is what the model reports afterwards. Before the first report: one
    token for 3 characters, and 256 for the answer.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], list[float]] = {}

    def guess(self, call: ModelCall) -> float:
        """Tokens in and out together, at least 1."""
        per_token, answer = self._known.get((call.path, call.name), (CHARACTERS, ANSWER))
        params = call.params
        if params:
            most = next((params[key] for key in _MAX_KEYS if params.get(key)), None)
            if isinstance(most, int | float):
                answer = min(answer, float(most))
        return max(1.0, characters(call.messages) / per_token + answer)

    def learn(self, call: ModelCall, result: ModelResult) -> None:
        """Take the usage that the model reported, where it did."""
        usage = result.message.usage_metadata
        if not usage or not usage["input_tokens"]:
            return
        seen = characters(call.messages) / usage["input_tokens"], float(usage["output_tokens"])
        known = self._known.get((call.path, call.name))
        if known is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[call.path, call.name] = list(seen)
            return
        for i, value in enumerate(seen):
            known[i] += KEPT * (value - known[i])


def characters(messages: Sequence[BaseMessage]) -> int:
    """Characters of all texts."""
    return sum(len(m.content) if isinstance(m.content, str) else len(str(m.text)) for m in messages)
