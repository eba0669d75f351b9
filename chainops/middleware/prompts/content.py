"""What a version of a prompt is made of, checked and in the one form that is hashed."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from chainops.errors import SetupError
from chainops.middleware.prompts.inputs import compile_schema, explain
from chainops.store.canonical import json_mistakes

__all__ = ["KIND", "Content", "PromptMessage", "PromptTest", "check_content", "mistakes_error"]

KIND = "prompt"
"""The kind under which prompts stand among the artifacts."""

MAX_SOURCE = 256_000
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_TAKEN = frozenset(["self", "loop", "caller", "varargs", "kwargs", "true", "false", "none", *keyword.kwlist])


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PromptMessage(_Part):
    """One message of a prompt: who says it, and its template."""

    role: Literal["system", "user", "assistant"] = Field(description="Who says it.")
    template: str = Field(max_length=MAX_SOURCE, description="Its text, in the template language.")

    @field_validator("template")
    @classmethod
    def _lines(cls, value: str) -> str:
        """Lines end in a newline, and none is left at either end: a file cannot tell more."""
        return value.replace("\r\n", "\n").replace("\r", "\n").strip("\n")


class PromptTest(_Part):
    """A test of a prompt: with these inputs, the rendered text has some parts and lacks others."""

    name: str = Field(min_length=1, description="What must stay true.")
    inputs: dict[str, Any] = Field(default_factory=dict, description="Values for the variables.")
    contains: list[str] = Field(default_factory=list, description="Texts that the rendered prompt must have.")
    lacks: list[str] = Field(default_factory=list, description="Texts that it must not have.")


class Content(_Part):
    """All that makes two versions differ. ``partials``: the hash of each partial that the template includes."""

    description: str = ""
    model: dict[str, Any] = Field(default_factory=dict, description="Settings for the model call.")
    inputs: dict[str, Any] = Field(default_factory=dict, description="JSON Schema of the variables.")
    output: dict[str, Any] = Field(default_factory=dict, description="JSON Schema of the answer.")
    messages: list[PromptMessage] = Field(min_length=1, max_length=100)
    partials: dict[str, str] = Field(default_factory=dict)
    tests: list[PromptTest] = Field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """The JSON form; what has its default is left out, so that a later chainops gives the same hash."""
        return self.model_dump(exclude_defaults=True)


def mistakes_error(name: str, mistakes: list[str]) -> SetupError:
    """The error for a prompt that is wrong: all mistakes at once."""
    return SetupError(
        f"Prompt {name!r} has mistakes: {'; '.join(mistakes)}", hint="Mend the prompt.", code="setup.prompt"
    )


def check_content(name: str, raw: Mapping[str, Any]) -> Content:
    """``raw`` as a :class:`Content`; templates are not looked at here.

    Raises:
        SetupError: something in it is wrong (``setup.prompt``); everything is named, with its place.
    """
    if mistakes := json_mistakes(dict(raw)):
        raise mistakes_error(name, mistakes)
    try:
        content = Content.model_validate(dict(raw))
    except ValidationError as error:
        raise mistakes_error(name, [_explain(e["loc"], e["msg"]) for e in error.errors()]) from None
    if mistakes := _schema_mistakes(content.inputs):
        raise mistakes_error(name, mistakes)
    if sum(len(m.template) for m in content.messages) > MAX_SOURCE:
        raise mistakes_error(name, [f"the templates together have more than {MAX_SOURCE:,} characters"])
    return content


def _explain(place: tuple[int | str, ...], message: str) -> str:
    dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
    return f"{dotted}: {message[:1].lower()}{message[1:]}"


def _schema_mistakes(schema: dict[str, Any]) -> list[str]:
    if not schema:
        return []
    _, wrong = compile_schema(schema, "inputs")
    found = explain(wrong)
    if schema.get("type", "object") != "object":
        found.append("inputs.type must be object: its properties are the variables")
    if schema.get("additionalProperties") not in (None, False):
        found.append("inputs.additionalProperties must be false: an unknown variable is a mistake")
    properties = schema.get("properties", {})
    for variable, inner in properties.items() if isinstance(properties, dict) else ():
        if not _NAME.fullmatch(variable) or variable.lower() in _TAKEN:
            found.append(f"inputs.properties.{variable} is no name for a variable")
        if not found and isinstance(inner, dict) and "default" in inner:
            problems = compile_schema(inner)[0](inner["default"])
            found += [f"inputs.properties.{variable}.default {text}" for _, text in problems or ()]
    return found
