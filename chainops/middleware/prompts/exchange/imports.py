"""A prompt in somebody else's form as one of ours. What does not fit is said with its place, never just left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
import yaml

from chainops.errors import SetupError
from chainops.middleware.prompts.compile import compile_prompt
from chainops.middleware.prompts.content import Content, check_content, mistakes_error
from chainops.middleware.prompts.file import PlainLoader

__all__ = ["FORMS", "Draft", "Imported", "finish", "import_prompt"]

Form = Literal["langchain", "langsmith", "langfuse", "prompty"]
FORMS: tuple[Form, ...] = ("langchain", "langsmith", "langfuse", "prompty")
"""The forms that can be read."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A prompt that was read. ``notes``: what of it has no place here and stayed out."""

    name: str
    content: Content
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Draft:
    """A prompt while it is read: messages and variables so far, what is wrong, what stays out."""

    name: str
    messages: list[dict[str, str]] = field(default_factory=list)
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    drop_placeholders: bool = False

    def say(self, role: str, template: str, variables: Mapping[str, dict[str, Any]]) -> None:
        """Add a message."""
        self.messages.append({"role": role, "template": template})
        for name, schema in variables.items():
            self.variables[name] = {**schema, **self.variables.get(name, {})}

    def placeholder(self, name: str, place: str, *, last: bool) -> None:
        """A place for other messages: the end is where they stand anyhow."""
        if last or self.drop_placeholders:
            where = "the messages of the node's call come after the prompt" if last else "it was told to stay out"
            self.notes.append(f"{place}: the placeholder {name!r} stays out: {where}")
        else:
            self.mistakes.append(
                f"{place}: the placeholder {name!r} stands between messages, but a node's messages come after its "
                "prompt (leave it out with --drop-placeholders)"
            )


def finish(draft: Draft) -> Imported:
    """The prompt, checked and compiled once.

    Raises:
        SetupError: something in it has no form here (``setup.prompt``); all of it is named.
    """
    if draft.mistakes:
        raise mistakes_error(draft.name, draft.mistakes)
    if not draft.messages:
        raise mistakes_error(draft.name, ["it has no messages"])
    raw: dict[str, Any] = {**draft.more, "messages": draft.messages}
    if draft.variables:
        required = sorted(name for name, schema in draft.variables.items() if "default" not in schema)
        inputs: dict[str, Any] = {"type": "object", "properties": dict(sorted(draft.variables.items()))}
        raw["inputs"] = {**inputs, **({"required": required} if required else {})}
    content = check_content(draft.name, raw)
    compile_prompt(draft.name, content)
    return Imported(draft.name, content, tuple(draft.notes))


def import_prompt(
    data: bytes, name: str, form: Form | Literal["auto"] = "auto", *, drop_placeholders: bool = False
) -> Imported:
    """The prompt in a file of another system.

    Args:
        name: its name, where the file gives none.
        form: whose form it is; "auto" tells by what stands in it.
        drop_placeholders: leave out places for other messages that stand between messages.

    Raises:
        SetupError: the file cannot be read (``setup.import``), or something in it has no form here
            (``setup.prompt``); all of it is named, with its place.
    """
    from chainops.middleware.prompts.exchange.from_langchain import read_langchain
    from chainops.middleware.prompts.exchange.from_langfuse import read_langfuse
    from chainops.middleware.prompts.exchange.from_prompty import read_prompty

    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _unreadable("it is no UTF-8 text") from None
    if form == "prompty" or (form == "auto" and text.startswith("---")):
        return read_prompty(text, name)
    found = _parsed(text)
    if form == "auto":
        form = _guess(found)
    readers: dict[str, Callable[[Any, Draft], Imported]] = {
        "langchain": read_langchain,
        "langsmith": read_langchain,
        "langfuse": read_langfuse,
    }
    return readers[form](found, Draft(name, drop_placeholders=drop_placeholders))


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        reason = str(error)
    try:
        found = yaml.load(text, PlainLoader)  # noqa: S506 - a safe loader with less in it
    except (yaml.YAMLError, RecursionError, ValueError, TypeError):
        found = None
    if not isinstance(found, dict):
        raise _unreadable(f"it is neither JSON ({reason}) nor a YAML table")
    return found


def _guess(found: Any) -> Form:
    if isinstance(found, Mapping):
        if "manifest" in found:
            return "langsmith"
        if "lc" in found or "_type" in found:
            return "langchain"
        if "prompt" in found:
            return "langfuse"
    raise SetupError(
        "Whose form of prompt this is cannot be told",
        hint=f"Name it: --from {'|'.join(FORMS)}.",
        code="setup.import",
    )


def _unreadable(reason: str) -> SetupError:
    return SetupError(
        f"The prompt cannot be read: {reason}",
        hint="Give the file that the other system exported.",
        code="setup.import",
    )
