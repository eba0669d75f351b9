"""From messages to token ids, so that no message can pretend to be another one.

Chat templates mark turns with control tokens such as ``<|im_end|>``. If that text stands *inside* a message, it is
tokenized as plain characters: what a user, a tool or a document says cannot close its own turn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from chainops.engines.llama.template import ChatTemplate

__all__ = ["PromptEncoder"]

OPEN, CLOSE = "\ufdd0", "\ufdd1"  # noncharacters: never part of a text that is exchanged


class PromptEncoder:
    """Renders and tokenizes conversations for one model.

    Args:
        template: the chat template.
        tokenize: ``(text, special, start) -> ids``.
        control: texts of the model's control tokens.
        bos_token: text of the token that begins a prompt; not added again if the template writes it.
    """

    def __init__(
        self,
        template: ChatTemplate,
        tokenize: Callable[[str, bool, bool], list[int]],
        *,
        control: Sequence[str],
        bos_token: str,
    ) -> None:
        self._template, self._tokenize, self._bos = template, tokenize, bos_token
        texts = sorted({*control, OPEN, CLOSE} - {""}, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, texts)))

    def encode(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> list[int]:
        """Token ids of the prompt.

        Raises:
            CallError: code ``call.chat_template``.
        """
        literal: list[str] = []
        text = self._template.render(self._defuse(list(messages), literal), tools)
        start = not (self._bos and text.startswith(self._bos))
        if not literal:
            return self._tokenize(text, True, start)
        tokens: list[int] = []
        for index, part in enumerate(re.split(f"{OPEN}(\\d+){CLOSE}", text)):
            if index % 2:
                tokens += self._tokenize(literal[int(part)], False, False)
            elif part:
                tokens += self._tokenize(part, True, start and not tokens)
        return tokens

    def prefix(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> list[int]:
        """The tokens that all prompts have in common which begin with ``messages`` and go on with the user.

        Raises:
            CallError: code ``call.chat_template``.
        """
        one, other = (self.encode([*messages, {"role": "user", "content": text}], tools) for text in ("a", "b"))
        same = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
        return [token for token, _ in same]

    def _defuse(self, value: Any, literal: list[str]) -> Any:
        """A copy of ``value`` with every control text replaced by a mark; the texts are appended to ``literal``."""
        if isinstance(value, str):
            return self._control.sub(lambda match: self._mark(match[0], literal), value)
        if isinstance(value, Mapping):
            return {key: item if key == "role" else self._defuse(item, literal) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._defuse(item, literal) for item in value]
        return value

    @staticmethod
    def _mark(text: str, literal: list[str]) -> str:
        literal.append(text)
        return f"{OPEN}{len(literal) - 1}{CLOSE}"
