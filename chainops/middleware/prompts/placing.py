"""Where the messages of a prompt stand in a model call, and where its values come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from chainops.calls import Call, ModelCall
from chainops.errors import CallError
from chainops.middleware.prompts.slots import AnyPrompt
from chainops.middleware.prompts.template import Rendered

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

__all__ = ["exchanged", "values_for", "with_prompt"]


def exchanged(messages: Sequence[BaseMessage], pinned: Any, seen: Rendered, other: Rendered) -> tuple[BaseMessage, ...]:
    """``messages`` with those of ``seen`` replaced, where the first of them stands, by those of ``other``."""
    mine = {key for key, (_, _, rendered) in pinned.made.items() if rendered is seen}
    places = [i for i, message in enumerate(messages) if id(message) in mine]
    kept = [message for message in messages if id(message) not in mine]
    at = places[0] if places else 0
    return (*kept[:at], *other.to_langchain(), *kept[at:])


def with_prompt(rendered: Rendered, prompt: AnyPrompt, call: ModelCall) -> ModelCall:
    """The call with the prompt of the node's settings before its messages."""
    return call.replace(messages=_before(rendered, call), params={**prompt.content.model, **call.params})


def values_for(node: Call, prompt: AnyPrompt) -> dict[str, Any]:
    """The variables of the prompt that the node's input has: keys of a state, or fields of an object."""
    given = node.input[1] if node.kind == "task" else node.input
    if not isinstance(given, Mapping):  # never methods and properties: a variable may be called "copy"
        is_record = is_dataclass(given) and not isinstance(given, type)
        given = {f.name: getattr(given, f.name) for f in fields(given)} if is_record else getattr(given, "__dict__", {})
    return {name: given[name] for name in prompt.variables if name in given}


def _before(rendered: Rendered, call: ModelCall) -> tuple[Any, ...]:
    roles = {message.role for message in rendered.messages}
    if "system" in roles and any(message.type == "system" for message in call.messages):
        raise CallError(
            f"Prompt {rendered.name!r} has a system message, and node {call.path!r} passes one of its own",
            hint="Remove the node's, or take the system message out of the prompt.",
            code="prompt.system",
        )
    return (*rendered.to_langchain(), *call.messages)
