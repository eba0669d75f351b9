"""The chat template as functions: a conversation in, the text that the model reads out.

Training, evaluation and the GGUF file all use the one template in ``chat_template.jinja``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

Message = dict[str, Any]
Tool = dict[str, Any]

TEMPLATE_FILE = Path(__file__).with_name("chat_template.jinja")
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
ASSISTANT_START = TURN_START + "assistant\n"


def _to_json(value: Any) -> str:
    """JSON as llama.cpp and chainops write it in templates: every script as it is, and no entities of HTML."""
    return json.dumps(value, ensure_ascii=False)


class ChatTemplate:
    """A compiled chat template (Jinja, sandboxed); `source` defaults to the one of this recipe."""

    def __init__(self, source: str | None = None) -> None:
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.filters["tojson"] = _to_json
        self._template = environment.from_string(TEMPLATE_FILE.read_text() if source is None else source)

    def render(self, messages: list[Message], tools: list[Tool] | None = None, *, prompt: bool = False) -> str:
        """The text of a conversation; with `prompt` it ends where the assistant's next turn begins."""
        return self._template.render(
            messages=messages, tools=tools, add_generation_prompt=prompt, bos_token="", eos_token=TURN_END
        )

    def reply(self, message: Message) -> str:
        """The text that the model has to write for one assistant message, without the end mark."""
        text = self.render([message])
        return text.split(ASSISTANT_START, 1)[1].rsplit(TURN_END, 1)[0]
