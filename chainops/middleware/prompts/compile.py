"""From the content of a version to a prompt that renders: templates checked, partials put in, code made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Template, TemplateSyntaxError, nodes
from jinja2.meta import find_undeclared_variables

from chainops.middleware.prompts.content import Content, check_content, mistakes_error
from chainops.middleware.prompts.inputs import compile_schema
from chainops.middleware.prompts.sandbox import MAX_INCLUDES, Inliner, environment, forbidden
from chainops.middleware.prompts.template import CompiledPrompt

__all__ = ["compile_prompt"]

Partial = Callable[[str, str], Content]
"""Finds a partial by name and hash."""

BROKEN = (TemplateSyntaxError, RecursionError, SyntaxError, MemoryError, ValueError, OverflowError, TypeError)
"""What Jinja2 and Python raise for a template that is no good: wrong, or nested too deep for either."""


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
    if content.slots:
        raise mistakes_error(name, ["a prompt with slots renders only together with what stands in them"])
    schema = {"type": "object", "additionalProperties": False, **content.inputs}
    check, _ = compile_schema(schema)
    mistakes: list[str] = []
    templates = []
    own = {"examples": content.few_shot, "reasoning": content.reasoning}
    builder = _Builder(
        partial, {*schema.get("properties", {}), *(variable for variable, is_there in own.items() if is_there)}
    )
    for i, message in enumerate(content.messages):
        place = f"messages[{i}] ({message.role})"
        templates.append(builder.build(content, message.template, place, mistakes))
    in_text = "examples" in builder.used
    mistakes += _feature_mistakes(content, builder.used)
    if mistakes:
        raise mistakes_error(name, mistakes)
    made = [t for t in templates if t is not None]
    return CompiledPrompt(name, version, sha256, content, made, check, examples_in_text=in_text)


def _feature_mistakes(content: Content, used: set[str]) -> list[str]:
    """What templates do not do that the front matter says."""
    few, reasoning = content.few_shot, content.reasoning
    found = []
    if few and "examples" not in used and set(few.examples[0]) != {"user", "assistant"}:
        found.append(
            "few_shot: no template uses the variable examples, so each needs exactly the keys user and assistant"
        )
    if few and "examples" not in used and not all(isinstance(v, str) for e in few.examples for v in e.values()):
        found.append("few_shot: user and assistant of an example are texts")
    asked = reasoning and ("reasoning" in used or any(reasoning.close in m.template for m in content.messages))
    if reasoning and not asked:
        found.append("reasoning: no message asks for it; write {{ reasoning }} where it should")
    return found


class _Builder:
    """Makes one template of a message and the partials in it."""

    def __init__(self, partial: Partial | None, variables: set[str]) -> None:
        self.partial = partial
        self.variables = variables
        self.used: set[str] = set()
        self.included = 0

    def build(self, content: Content, source: str, place: str, mistakes: list[str]) -> Template | None:
        """The template, or None with ``mistakes`` added."""
        before = len(mistakes)
        self.included = 0
        try:
            tree = self._tree(content, source, place, mistakes)
            free = find_undeclared_variables(tree)
            self.used |= free
            for variable in sorted(free - self.variables):
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
