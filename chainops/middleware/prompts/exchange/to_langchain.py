"""Our prompts as LangChain's templates, for code that does not run chainops."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jinja2 import nodes

from chainops.errors import SetupError
from chainops.middleware.prompts.content import Content
from chainops.middleware.prompts.exchange.from_langchain import MARK
from chainops.middleware.prompts.sandbox import environment

if TYPE_CHECKING:
    from langchain_core.prompts import ChatPromptTemplate

__all__ = ["to_langchain"]

_BEFORE = re.compile(r"(?m)^[ \t]+(?=\{[%#](?![-+]))")
_AFTER = re.compile(r"((?<![-+])[%#]\})\n")


def to_langchain(name: str, content: Content) -> ChatPromptTemplate:
    """A chat template that renders the same text; importing it again gives the same prompt.

    Variables that are lists or objects, and true, false and none, LangChain prints in Python's form, we in JSON's.
    What LangChain has no place for (types of variables, tests, the output schema, reasoning kept apart) travels in
    the template's metadata and does nothing there.

    Raises:
        SetupError: it needs slots, partials or examples chosen by likeness (``setup.prompt_form``).
    """
    from langchain_core.prompts import ChatPromptTemplate

    few = content.few_shot
    for used, what in (
        (content.slots, "slots"),
        (content.partials, "partials"),
        (few is not None and few.choose == "similar", "examples chosen by likeness"),
    ):
        if used:
            raise SetupError(
                f"Prompt {name!r} has {what}, which a LangChain template cannot have",
                hint="Export it as a prompt file instead.",
                code="setup.prompt_form",
            )
    messages, needs = [], set[str]()
    for message in content.messages:
        text, engine, names = _template(message.template)
        needs |= names
        messages.append(_message(message.role, text, engine))
    if few is not None and "examples" not in needs:
        turns = [(role, str(shot[role])) for shot in few.examples for role in ("user", "assistant")]
        last = max((i for i, m in enumerate(content.messages) if m.role == "user"), default=len(messages))
        messages[last:last] = [_message(role, _escaped(text), "f-string") for role, text in turns]
    given: dict[str, Any] = {
        variable: schema["default"]
        for variable, schema in content.inputs.get("properties", {}).items()
        if isinstance(schema, dict) and "default" in schema and variable in needs
    }
    if few is not None and "examples" in needs:
        given["examples"] = few.examples
    if content.reasoning is not None and "reasoning" in needs:
        given["reasoning"] = content.reasoning.sentence
    carried = {MARK: {"name": name, "content": content.plain()}}
    return ChatPromptTemplate(messages, partial_variables=given, metadata=carried)


def _message(role: str, text: str, engine: str) -> Any:
    from langchain_core.prompts import AIMessagePromptTemplate, HumanMessagePromptTemplate, SystemMessagePromptTemplate

    kinds = {"system": SystemMessagePromptTemplate, "user": HumanMessagePromptTemplate}
    return kinds.get(role, AIMessagePromptTemplate).from_template(text, template_format=engine)  # type: ignore[arg-type]


def _template(source: str) -> tuple[str, str, set[str]]:
    """The template in the simplest of LangChain's languages that can say it, that language, the free variables."""
    from jinja2.meta import find_undeclared_variables

    tree = environment().parse(source)
    names = find_undeclared_variables(tree)
    parts: list[str] = []
    for node in tree.body:
        pieces = node.nodes if isinstance(node, nodes.Output) else [None]
        for piece in pieces:
            if isinstance(piece, nodes.TemplateData):
                parts.append(_escaped(piece.data))
            elif isinstance(piece, nodes.Const) and isinstance(piece.value, str):
                parts.append(_escaped(piece.value))
            elif isinstance(piece, nodes.Name):
                parts.append(f"{{{piece.name}}}")
            else:
                return _untrimmed(source), "jinja2", names
    return "".join(parts), "f-string", names


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _untrimmed(source: str) -> str:
    """The same for an environment that keeps the white space around tags."""
    text = _AFTER.sub(r"\1", _BEFORE.sub("", source))
    return text.replace("{%+", "{%").replace("+%}", "%}")
