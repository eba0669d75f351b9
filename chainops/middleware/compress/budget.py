"""What a prompt may have: the model's window, less what the answer and the tools need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from chainops.calls import ModelCall

__all__ = ["Budget", "budget_of"]

DEFAULT_ANSWER = 1024


@dataclass(frozen=True, slots=True)
class Budget:
    """Tokens of one call.

    Args:
        window: of the model; None: not known.
        answer: kept free for the answer.
        tools: kept free for the definitions of tools.
        target: what a prompt is compressed to where it pays, although more would fit; None: only what must be.
    """

    window: int | None
    answer: int = 0
    tools: int = 0
    target: int | None = None

    @property
    def limit(self) -> int | None:
        """Tokens that the messages may have; None: not known."""
        return None if self.window is None else max(self.window - self.answer - self.tools, 0)

    @property
    def goal(self) -> int | None:
        """Tokens that the messages should have: the smaller of limit and target."""
        found = [tokens for tokens in (self.limit, self.target) if tokens is not None]
        return min(found) if found else None

    def reserved(self) -> str:
        """What is reserved, in words."""
        return f"window {self.window}, {self.answer} for the answer, {self.tools} for tools"


def budget_of(
    call: ModelCall,
    tools: int,
    *,
    windows: Mapping[str, int],
    answer: int | None,
    target: int | None,
    node: Mapping[str, Any],
) -> Budget:
    """The budget of a call.

    Args:
        tools: tokens of the definitions of its tools, or the least to reserve for them.
        windows: by glob on the model's name; the last that fits. Else what the model's profile says.
        answer: to reserve; else the call's or the model's ``max_tokens``, at most a quarter of the window.
        target: as in ``Budget``.
        node: what is set for the node: ``window``, ``answer_reserve``, ``tools_reserve``, ``target_tokens``.
    """
    window = node.get("window")
    if window is None:
        window = next((size for glob, size in reversed(list(windows.items())) if fnmatchcase(call.name, glob)), None)
    if window is None:
        window = (getattr(call.model, "profile", None) or {}).get("max_input_tokens")
    answer = node.get("answer_reserve", answer)
    if answer is None and window is not None:
        asked = call.params.get("max_tokens") or getattr(call.model, "max_tokens", None) or DEFAULT_ANSWER
        answer = min(int(asked), window // 4)
    return Budget(window, answer or 0, max(tools, node.get("tools_reserve", 0)), node.get("target_tokens", target))
