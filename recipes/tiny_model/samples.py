"""What a conversation of the corpus is made of: its turns, its tools and what each assistant turn shows."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import phrases as words
from chatml import Message, Tool
from splits import Draw


@dataclass
class Sample:
    """One conversation. `kinds` names what each assistant turn shows, in order."""

    messages: list[Message]
    tools: list[Tool] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    def user(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})

    def answer(self, kind: str, text: str) -> None:
        self.messages.append({"role": "assistant", "content": text})
        self.kinds.append(kind)

    def call(self, kind: str, name: str, arguments: dict[str, Any]) -> None:
        function = {"name": name, "arguments": arguments}
        call_id = f"call_{len(self.messages)}"
        calls = [{"id": call_id, "type": "function", "function": function}]
        self.messages.append({"role": "assistant", "content": "", "tool_calls": calls})
        self.kinds.append(kind)

    def result(self, values: dict[str, Any] | str) -> None:
        """What the tool gave: values as compact JSON, text as it is."""
        call_id = self.messages[-1]["tool_calls"][0]["id"]
        content = values if isinstance(values, str) else json.dumps(values, separators=(",", ":"), ensure_ascii=False)
        self.messages.append({"role": "tool", "tool_call_id": call_id, "content": content})

    def question(self, draw: Draw) -> Question:
        """This conversation, cut before one of its assistant turns, drawn at random."""
        turns = [index for index, message in enumerate(self.messages) if message["role"] == "assistant"]
        number = draw.random.randrange(len(turns))
        return Question(self.kinds[number], self.messages[: turns[number]], self.tools, self.messages[turns[number]])


def tool(name: str, /, *texts: str, **kinds: str) -> Tool:
    """An OpenAI-style tool; all its parameters are required: `texts` are strings, `kinds` are of a JSON type each."""
    kinds = {**dict.fromkeys(texts, "string"), **kinds}
    schema = {
        "type": "object",
        "properties": {parameter: {"type": kind} for parameter, kind in kinds.items()},
        "required": list(kinds),
    }
    return {"type": "function", "function": {"name": name, "description": "", "parameters": schema}}


GET_ORDER = tool("get_order", "order_id")
CREATE_REFUND = tool("create_refund", "order_id", "amount")
CREATE_TICKET = tool("create_ticket", "title", "priority")


def start(system: str = words.SYSTEM, tools: list[Tool] | None = None) -> Sample:
    return Sample([{"role": "system", "content": system}], tools or [])


@dataclass(frozen=True)
class Question:
    """A conversation up to an assistant turn, and that turn."""

    kind: str
    messages: list[Message]
    tools: list[Tool]
    expected: Message
