"""A version of a prompt, compiled: values in, messages out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
from jinja2 import Template, TemplateSyntaxError, UndefinedError, nodes
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import new_context

from chainops.errors import CallError
from chainops.middleware.prompts.content import Content, check_content, mistakes_error
from chainops.middleware.prompts.inputs import Check, compile_schema, explain
from chainops.middleware.prompts.sandbox import MAX_INCLUDES, MAX_TEXT, Inliner, environment, forbidden
from chainops.store.canonical import fingerprint

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

__all__ = ["CompiledPrompt", "Rendered", "RenderedMessage", "compile_prompt"]

Partial = Callable[[str, str], Content]
"""Finds a partial by name and hash."""

BROKEN = (TemplateSyntaxError, RecursionError, SyntaxError, MemoryError, ValueError, OverflowError, TypeError)
"""What Jinja2 and Python raise for a template that is no good: wrong, or nested too deep for either."""


@dataclass(frozen=True, slots=True)
class RenderedMessage:
    """One message: ``role`` is system, user or assistant."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a prompt became with certain values, and which version it was.

    ``variables`` has the first 16 digits of the sha256 of each value: enough to see whether it changed, without
    keeping it.
    """

    name: str
    version: int
    sha256: str
    messages: tuple[RenderedMessage, ...]
    values: Mapping[str, Any] = field(repr=False)

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
        return [kinds[message.role](message.text) for message in self.messages]


class CompiledPrompt:
    """Renders one version, any number of times, from any thread. Made by :func:`compile_prompt`.

    Attributes:
        content: what the version is made of.
        max_chars: characters that all messages together may have.
        max_seconds: time that one rendering may take.
    """

    __slots__ = (
        "_check",
        "_defaults",
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
        self, name: str, version: int, sha256: str, content: Content, templates: list[Template], check: Check
    ) -> None:
        self.name, self.version, self.sha256, self.content = name, version, sha256, content
        self.max_chars, self.max_seconds = MAX_TEXT, 1.0
        properties = content.inputs.get("properties", {})
        self._defaults = {n: s["default"] for n, s in properties.items() if type(s) is dict and "default" in s}
        self._check = check
        self._template = templates[0]
        self._roots = [(m.role, t.root_render_func) for m, t in zip(content.messages, templates, strict=True)]

    def __repr__(self) -> str:
        return f"CompiledPrompt({self.name!r}, version={self.version})"

    @property
    def variables(self) -> frozenset[str]:
        """The names that :meth:`render` takes."""
        return frozenset(self.content.inputs.get("properties", {}))

    def render(self, values: Mapping[str, Any]) -> Rendered:
        """The messages with ``values``, which are put in once and never looked at as a template.

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
        template = self._template
        context = new_context(template.environment, template.name, {}, given, True, None, None)
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
        return Rendered(self.name, self.version, self.sha256, tuple(messages), given)

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


def _line(error: Exception) -> str:
    """The line of the template in which it happened: that of its innermost frame in the traceback."""
    line, trace = "?", error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        if isinstance(template, Template):
            line = str(template.get_corresponding_lineno(trace.tb_lineno))
        trace = trace.tb_next
    return line


def compile_prompt(
    name: str, raw: Mapping[str, Any] | Content, *, version: int = 0, sha256: str = "", partial: Partial | None = None
) -> CompiledPrompt:
    """A prompt ready to render. Takes milliseconds: do it once per version.

    Args:
        partial: finds what ``{% include %}`` names.

    Raises:
        SetupError: something in it is wrong (``setup.prompt``); everything is named, with its place.
    """
    content = raw if isinstance(raw, Content) else check_content(name, raw)
    schema = {"type": "object", "additionalProperties": False, **content.inputs}
    check, _ = compile_schema(schema)
    mistakes: list[str] = []
    templates = []
    for i, message in enumerate(content.messages):
        place = f"messages[{i}] ({message.role})"
        templates.append(
            _Builder(partial, schema.get("properties", {})).build(content, message.template, place, mistakes)
        )
    if mistakes:
        raise mistakes_error(name, mistakes)
    return CompiledPrompt(name, version, sha256, content, [t for t in templates if t is not None], check)


class _Builder:
    """Makes one template of a message and the partials in it."""

    def __init__(self, partial: Partial | None, variables: Mapping[str, Any]) -> None:
        self.partial = partial
        self.variables = variables
        self.included = 0

    def build(self, content: Content, source: str, place: str, mistakes: list[str]) -> Template | None:
        """The template, or None with ``mistakes`` added."""
        before = len(mistakes)
        try:
            tree = self._tree(content, source, place, mistakes)
            for variable in sorted(find_undeclared_variables(tree) - self.variables.keys()):
                mistakes.append(f"{place}: {variable!r} is not among the inputs")
            if len(mistakes) > before:
                return None
            # in a scope of its own, so that what one message sets does not reach the next through their context
            tree.body = [nodes.Scope(tree.body, lineno=1)]
            code = environment().compile(tree, filename=f"<{place}>")
            return Template.from_code(environment(), code, {})
        except BROKEN as error:
            line = f", line {error.lineno}" if isinstance(error, TemplateSyntaxError) else ""
            text = getattr(error, "message", None) or str(error) or "nested too deep"
            mistakes.append(f"{place}{line}: {text}")
            return None

    def _tree(self, content: Content, source: str, place: str, mistakes: list[str]) -> nodes.Template:
        tree = environment().parse(source)
        tree.set_environment(environment())
        found = [f"{place}, line {line}: {why}" for line, why in forbidden(tree)]
        mistakes += found
        if found:
            return _nothing()

        def insert(name: str) -> nodes.Template:
            self.included += 1
            if name not in content.partials:
                mistakes.append(f"{place}: the partial {name!r} is not among the partials")
            elif self.partial is None or self.included > MAX_INCLUDES:
                mistakes.append(
                    f"{place}: more than {MAX_INCLUDES} includes" if self.partial else f"{place}: no partials here"
                )
            else:
                inner = self.partial(name, content.partials[name])
                if len(inner.messages) == 1:
                    return self._tree(inner, inner.messages[0].template, f"{place}, partial {name!r}", mistakes)
                mistakes.append(f"{place}: the partial {name!r} has {len(inner.messages)} messages, not one")
            return _nothing()

        result = Inliner(insert).visit(tree).set_environment(environment())
        assert isinstance(result, nodes.Template)
        return result


def _nothing() -> nodes.Template:
    tree = nodes.Template([], lineno=1)
    tree.set_environment(environment())
    return tree
