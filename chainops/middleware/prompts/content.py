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

__all__ = [
    "FILES",
    "KIND",
    "SLOTS",
    "AnswerTest",
    "Content",
    "FewShot",
    "PromptMessage",
    "PromptTest",
    "Reasoning",
    "check_content",
    "mistakes_error",
]

KIND = "prompt"
"""The kind under which prompts stand among the artifacts."""

FILES = "files"
"""The label of the version that the file of a prompt has."""

SLOTS = ("conditioning", "system", "context", "user")
"""The slots of a prompt that is put together from others, in the order in which they stand in it."""

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


class AnswerTest(_Part):
    """What the answer of a model must be like. An empty part is not looked at."""

    equals: str | None = Field(default=None, description="The whole answer, white space at its ends aside.")
    contains: list[str] = Field(default_factory=list, description="Texts that the answer must have.")
    lacks: list[str] = Field(default_factory=list, description="Texts that it must not have.")
    matches: str = Field(default="", max_length=1000, description="A regular expression that is found in it.")
    fits_output: bool = Field(default=False, description="It is JSON that fits the prompt's output schema.")
    max_tokens: int | None = Field(default=None, gt=0, description="Tokens that it may have at most.")


class PromptTest(_Part):
    """A test of a prompt: with these inputs, the rendered text has some parts and lacks others.

    With ``answer`` a model is asked as well, and what it says is looked at.
    """

    name: str = Field(min_length=1, description="What must stay true.")
    inputs: dict[str, Any] = Field(default_factory=dict, description="Values for the variables.")
    contains: list[str] = Field(default_factory=list, description="Texts that the rendered prompt must have.")
    lacks: list[str] = Field(default_factory=list, description="Texts that it must not have.")
    answer: AnswerTest | None = Field(default=None, description="What a model's answer must be like.")


class FewShot(_Part):
    """Examples of how to answer: all of them, or those that are most like one of the variables.

    Templates see the chosen ones as the list ``examples``. Where no template does, each becomes a user and an
    assistant message before the last user message; then every example has exactly the keys user and assistant.
    """

    examples: list[dict[str, Any]] = Field(min_length=1, max_length=10_000, description="Texts by name.")
    choose: Literal["all", "similar"] = Field(default="all", description="Which of them are used.")
    k: int | None = Field(default=None, gt=0, le=100, description="How many similar ones.")
    like: str = Field(default="", description="The variable that they are compared with, and their key of that name.")

    @property
    def key(self) -> str:
        """The key of the examples that is compared: that of the variable's name, else "user"."""
        return self.like if self.like in self.examples[0] else "user"


class Reasoning(_Part):
    """Where the model's reasoning stands in what it says, so that it can be kept apart from the answer.

    Templates see ``ask`` as the variable ``reasoning``. With an empty ``open`` the reasoning begins at once.
    """

    open: str = Field(default="<thinking>", max_length=100, description="The mark before the reasoning.")
    close: str = Field(default="</thinking>", min_length=1, max_length=100, description="The mark after it.")
    ask: str = Field(default="", max_length=2000, description="The sentence that asks for it.")

    @property
    def sentence(self) -> str:
        """What asks the model for it."""
        if self.ask:
            return self.ask
        where = f"between {self.open} and {self.close}, then give the answer"
        return f"Think step by step {where if self.open else f'first, then write {self.close} and the answer'}."


class Content(_Part):
    """All that makes two versions differ. ``partials``: the hash of each partial that the template includes."""

    description: str = ""
    model: dict[str, Any] = Field(default_factory=dict, description="Settings for the model call.")
    inputs: dict[str, Any] = Field(default_factory=dict, description="JSON Schema of the variables.")
    output: dict[str, Any] = Field(default_factory=dict, description="JSON Schema of the answer.")
    messages: list[PromptMessage] = Field(default_factory=list, max_length=100)
    partials: dict[str, str] = Field(default_factory=dict)
    tests: list[PromptTest] = Field(default_factory=list)
    few_shot: FewShot | None = None
    reasoning: Reasoning | None = None
    slots: dict[Literal["conditioning", "system", "context", "user"], str] = Field(
        default_factory=dict, description="The prompts that it is put together from: a name, or NAME@LABEL."
    )

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
    if mistakes := [*_schema_mistakes(content.inputs), *_part_mistakes(content)]:
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


def _part_mistakes(content: Content) -> list[str]:
    """What is wrong between the parts of a prompt."""
    found = []
    if bool(content.messages) == bool(content.slots):
        found.append("a prompt has messages or slots, one of the two")
    if content.slots and (content.few_shot or content.partials):
        found.append("a prompt with slots has no examples and no partials of its own: they belong into its slots")
    if content.slots and content.inputs:
        found.append("a prompt with slots has no inputs of its own: its variables are those of its slots")
    taken = {"examples": content.few_shot, "reasoning": content.reasoning}
    properties = content.inputs.get("properties", {})
    found += [
        f"inputs.properties.{name} has a meaning of its own here"
        for name, used in taken.items()
        if used and name in properties
    ]
    if content.output:
        found += explain(compile_schema(content.output, "output")[1])
    if content.few_shot:
        found += _few_shot_mistakes(content.few_shot, properties)
    for i, test in enumerate(content.tests):
        if test.answer and test.answer.matches:
            found += _pattern_mistakes(test.answer.matches, f"tests[{i}].answer.matches")
        if test.answer and test.answer.fits_output and not content.output:
            found.append(f"tests[{i}].answer.fits_output: the prompt has no output schema")
    return found


def _few_shot_mistakes(few: FewShot, properties: Mapping[str, Any]) -> list[str]:
    keys = few.examples[0].keys()
    found = [
        f"few_shot.examples[{i}] has other keys than the first" for i, e in enumerate(few.examples) if e.keys() != keys
    ]
    if few.choose == "all":
        if few.k is not None or few.like:
            found.append("few_shot.k and few_shot.like need choose: similar")
        return found
    if few.k is None or not few.like:
        return [*found, "few_shot: choose: similar needs k and like"]
    if few.like not in properties:
        found.append(f"few_shot.like: {few.like!r} is not among the inputs")
    if not found and not all(isinstance(example.get(few.key), str) for example in few.examples):
        found.append(f"few_shot.like: the examples have no text under {few.like!r} or 'user'")
    return found


def _pattern_mistakes(pattern: str, place: str) -> list[str]:
    try:
        re.compile(pattern)
    except re.error as error:
        return [f"{place}: {error}"]
    return []
