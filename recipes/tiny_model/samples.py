"""What a conversation of the corpus is made of: its turns, its tools and what each assistant turn shows."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import phrases as words
from chatml import Message, Tool


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

    def call(self, kind: str, name: str, arguments: dict[str, str]) -> None:
        function = {"name": name, "arguments": arguments}
        call_id = f"call_{len(self.messages)}"
        calls = [{"id": call_id, "type": "function", "function": function}]
        self.messages.append({"role": "assistant", "content": "", "tool_calls": calls})
        self.kinds.append(kind)

    def result(self, values: dict[str, str]) -> None:
        call_id = self.messages[-1]["tool_calls"][0]["id"]
        content = json.dumps(values, separators=(",", ":"))
        self.messages.append({"role": "tool", "tool_call_id": call_id, "content": content})


def tool(name: str, *parameters: str) -> Tool:
    """An OpenAI-style tool whose parameters are all required strings."""
    schema = {
        "type": "object",
        "properties": {parameter: {"type": "string"} for parameter in parameters},
        "required": list(parameters),
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
