"""A version of a prompt, compiled: values in, messages out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from jinja2 import Template, UndefinedError
from jinja2.runtime import new_context

from chainops.errors import CallError
from chainops.middleware.prompts.content import Content
from chainops.middleware.prompts.inputs import Check, explain
from chainops.middleware.prompts.sandbox import MAX_TEXT
from chainops.store.canonical import fingerprint

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

__all__ = ["CompiledPrompt", "Part", "Rendered", "RenderedMessage"]

Choice = Mapping[str, Sequence[int]]
"""Which examples are used, by the name of the prompt that has them."""


@dataclass(frozen=True, slots=True)
class RenderedMessage:
    """One message: ``role`` is system, user or assistant."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """The version that stood in a slot of a prompt, and the label or number by which it was found."""

    slot: str
    name: str
    version: int
    sha256: str
    ref: str | int


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a prompt became with certain values, and which version it was.

    ``variables`` has the first 16 digits of the sha256 of each value: enough to see whether it changed, without
    keeping it. ``examples``: the numbers of the examples that were chosen, by the name of the prompt that has them.
    ``parts``: what stood in its slots.
    """

    name: str
    version: int
    sha256: str
    messages: tuple[RenderedMessage, ...]
    values: Mapping[str, Any] = field(repr=False)
    examples: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    on_messages: Callable[[list[BaseMessage]], None] | None = field(default=None, repr=False, compare=False)

    @property
    def variables(self) -> dict[str, str]:
        """The hash of each value, by name."""
        # the values are JSON: they were checked before they were rendered
        data = {name: orjson.dumps(value, option=orjson.OPT_SORT_KEYS) for name, value in self.values.items()}
        return {name: fingerprint(value)[:16] for name, value in data.items()}

    @property
    def text(self) -> str:
        """All messages as one text, separated by empty lines, without their roles."""
        return "\n\n".join(message.text for message in self.messages)

    def to_langchain(self) -> list[BaseMessage]:
        """The messages as LangChain has them."""
        from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

        kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
        made: list[BaseMessage] = [kinds[message.role](message.text) for message in self.messages]
        if self.on_messages is not None:
            self.on_messages(made)
        return made


class CompiledPrompt:
    """Renders one version, any number of times, from any thread. Made by ``compile_prompt``.

    Attributes:
        content: what the version is made of.
        max_chars: characters that all messages together may have.
        max_seconds: time that one rendering may take.
    """

    __slots__ = (
        "_check",
        "_defaults",
        "_given",
        "_in_text",
        "_roots",
        "_template",
        "content",
        "max_chars",
        "max_seconds",
        "name",
        "sha256",
        "version",
    )

    def __init__(
        self,
        name: str,
        version: int,
        sha256: str,
        content: Content,
        templates: list[Template],
        check: Check,
        *,
        examples_in_text: bool = False,
    ) -> None:
        self.name, self.version, self.sha256, self.content = name, version, sha256, content
        self.max_chars, self.max_seconds = MAX_TEXT, 1.0
        properties = content.inputs.get("properties", {})
        self._defaults = {n: s["default"] for n, s in properties.items() if type(s) is dict and "default" in s}
        self._check = check
        self._in_text = examples_in_text
        self._given = {"reasoning": content.reasoning.sentence} if content.reasoning else {}
        self._template = templates[0]
        self._roots = [(m.role, t.root_render_func) for m, t in zip(content.messages, templates, strict=True)]

    def __repr__(self) -> str:
        return f"CompiledPrompt({self.name!r}, version={self.version})"

    @property
    def variables(self) -> frozenset[str]:
        """The names that :meth:`render` takes."""
        return frozenset(self.content.inputs.get("properties", {}))

    @property
    def choosers(self) -> list[CompiledPrompt]:
        """The prompts of which examples must be chosen before it can be rendered: itself, or none."""
        few = self.content.few_shot
        return [self] if few is not None and few.choose == "similar" else []

    def render(self, values: Mapping[str, Any], examples: Choice | None = None) -> Rendered:
        """The messages with ``values``, which are put in once and never looked at as a template.

        Args:
            examples: which examples are used; needed where ``few_shot.choose`` is "similar".

        Raises:
            CallError: values are missing, unknown or of the wrong type (``prompt.inputs``, all of them at once, with
                their places), the template fails on them (``prompt.render``), or the result would be too long or
                took too long (``prompt.limit``).
        """
        given = {**self._defaults, **values}
        if problems := self._check(given):
            raise CallError(
                f"Prompt {self.name!r} (version {self.version}) got wrong values: {'; '.join(explain(problems))}",
                hint=f"Its variables are: {', '.join(sorted(self.variables)) or 'none'}.",
                code="prompt.inputs",
            )
        shots, numbers = self._shots(examples)
        known = given
        if shots is not None or self._given:
            known = {**given, **self._given, **({"examples": shots} if self._in_text else {})}
        template = self._template
        context = new_context(template.environment, template.name, {}, known, True, None, None)
        left = self.max_chars
        deadline = time.perf_counter() + self.max_seconds
        messages = []
        pieces: list[str] = []
        for role, root in self._roots:
            pieces = []
            try:
                for count, piece in enumerate(root(context)):
                    pieces.append(piece)
                    left -= len(piece)
                    if left < 0 or (count & 15 == 15 and time.perf_counter() > deadline):
                        raise self._over(left)
            except CallError:
                raise
            except Exception as error:  # noqa: BLE001  a template fails in as many ways as there are values
                raise self._failed(role, error) from None
            messages.append(RenderedMessage(role, "".join(pieces)))
        if shots and not self._in_text:
            messages = _with_examples(messages, shots)
        return Rendered(
            self.name, self.version, self.sha256, tuple(messages), given, {self.name: numbers} if numbers else {}
        )

    def _shots(self, chosen: Choice | None) -> tuple[list[dict[str, Any]] | None, tuple[int, ...]]:
        """The examples to use, and their numbers where they were chosen."""
        few = self.content.few_shot
        if few is None:
            return None, ()
        if few.choose == "all":
            return few.examples, ()
        numbers = (chosen or {}).get(self.name)
        if numbers is None:
            raise CallError(
                f"Prompt {self.name!r} (version {self.version}) needs an embedder for its examples",
                hint="Give Prompts(embedder=...), and inside a node: await chainops.prompt(name).arender(...).",
                code="prompt.examples",
            )
        return [few.examples[i] for i in numbers], tuple(numbers)

    def _over(self, left: int) -> CallError:
        what = f"has more than {self.max_chars:,} characters" if left < 0 else f"took more than {self.max_seconds} s"
        return CallError(
            f"Prompt {self.name!r} (version {self.version}) {what}",
            hint="Give it less, or shorten its loops.",
            code="prompt.limit",
        )

    def _failed(self, role: str, error: Exception) -> CallError:
        text = str(error) or type(error).__name__
        if isinstance(error, UndefinedError):
            text += " (write: is defined, or |default)"
        return CallError(
            f"Prompt {self.name!r} (version {self.version}) cannot be rendered, in line {_line(error)} of its {role} "
            f"message: {text}",
            hint="Mend the template, or what its inputs allow.",
            code="prompt.render",
        )


def _with_examples(messages: list[RenderedMessage], shots: list[dict[str, Any]]) -> list[RenderedMessage]:
    """Examples as turns of the conversation, before the last user message."""
    turns = [RenderedMessage(role, str(shot[role])) for shot in shots for role in ("user", "assistant")]
    last = max((i for i, message in enumerate(messages) if message.role == "user"), default=len(messages))
    return [*messages[:last], *turns, *messages[last:]]


def _line(error: Exception) -> str:
    """The line of the template in which it happened: that of its innermost frame in the traceback."""
    line, trace = "?", error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if isinstance(template, Template):
            line = str(template.get_corresponding_lineno(trace.tb_lineno))
        trace = trace.tb_next
    return line
