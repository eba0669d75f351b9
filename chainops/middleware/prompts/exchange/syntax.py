"""Other template languages in ours, so that a prompt says the same after it moved."""

from __future__ import annotations

import keyword
import re
from string import Formatter
from typing import Any

from jinja2 import TemplateError
from jinja2.meta import find_undeclared_variables

from chainops.middleware.prompts.sandbox import environment

__all__ = ["Template", "from_fstring", "from_jinja", "from_mustache", "literal"]

_MUSTACHE = re.compile(r"\{\{\{\s*(?P<raw>[^{}]*?)\s*\}\}\}|\{\{(?P<mark>[#^/>=!&]?)\s*(?P<name>[^{}]*?)\s*\}\}")
_TAG = re.compile(r"\{%(?![-+])(.*?)(?<![-+])%\}", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Template = tuple[str, dict[str, dict[str, Any]]]
"""A template in our language, and its variables with what JSON Schema says of each."""


def literal(text: str, *, first: bool = True, last: bool = True) -> str:
    """``text`` as a template that prints it: no brace of it begins a tag, and no newline at an end is lost."""
    body = text
    head = body[: len(body) - len(body.lstrip("\n"))] if first else ""
    body = body[len(head) :]
    tail = body[len(body.rstrip("\n")) :] if last else ""
    body = body[: len(body) - len(tail)]
    body = re.sub(r"\{(?=[{%#]|$)", "{{ '{' }}", body)
    return _newlines(head) + body + _newlines(tail)


def _newlines(text: str) -> str:
    return "{{ '" + "\\n" * len(text) + "' }}" if text else ""


def _check_name(name: str, place: str, mistakes: list[str]) -> bool:
    if _NAME.fullmatch(name) and not name.startswith("_") and not keyword.iskeyword(name):
        return True
    mistakes.append(f"{place}: {name!r} is no name for a variable here")
    return False


def from_fstring(text: str, place: str, mistakes: list[str]) -> Template:
    """LangChain's f-string templates: ``{name}``, and ``{{`` for a brace."""
    parts: list[str] = []
    variables: dict[str, dict[str, Any]] = {}
    try:
        pieces = list(Formatter().parse(text))
    except ValueError as error:
        mistakes.append(f"{place}: {error}")
        return "", {}
    for i, (before, name, spec, conversion) in enumerate(pieces):
        parts.append(literal(before, first=i == 0, last=i == len(pieces) - 1 and name is None))
        if name is None:
            continue
        if spec or conversion:
            mistakes.append(
                f"{place}: {{{name}}} has a format ({conversion or spec}), which templates here do not have"
            )
        elif _check_name(name, place, mistakes):
            parts.append(f"{{{{ {name} }}}}")
            variables[name] = {"type": "string"}
    return "".join(parts), variables


def from_mustache(text: str, place: str, mistakes: list[str]) -> Template:
    """Mustache variables, ``{{name}}`` and ``{{user.name}}``. Sections and partials are mistakes; comments go."""
    parts: list[str] = []
    variables: dict[str, dict[str, Any]] = {}
    at = 0
    for found in _MUSTACHE.finditer(text):
        parts.append(literal(text[at : found.start()], first=at == 0, last=False))
        at = found.end()
        name, mark = found["raw"] or found["name"] or "", found["mark"] or ""
        if mark == "!":
            continue
        if mark in ("#", "^", "/", ">", "="):
            mistakes.append(f"{place}: {found[0]} is a section or a partial of Mustache; write it as Jinja")
            continue
        root, *rest = name.split(".")
        if all(_check_name(part, place, mistakes) for part in [root, *rest]):
            parts.append(f"{{{{ {name} }}}}")
            variables.setdefault(root, {"type": "object"} if rest else {"type": "string"})
    parts.append(literal(text[at:], first=at == 0))
    return "".join(parts), variables


def from_jinja(text: str, place: str, mistakes: list[str], *, trimmed: bool = False) -> Template:
    """Jinja templates. ``trimmed``: written for an environment that drops the line end after a tag, as ours does."""
    body = text if trimmed else _TAG.sub(r"{%+\1+%}", text.removesuffix("\n"))
    try:
        names = find_undeclared_variables(environment().parse(body))
    except TemplateError as error:
        mistakes.append(f"{place}: {error}")
        return body, {}
    kept = [name for name in sorted(names) if _check_name(name, place, mistakes)]
    head, tail = body[: len(body) - len(body.lstrip("\n"))], body[len(body.rstrip("\n")) :]
    middle = body[len(head) : len(body) - len(tail)] if body.strip("\n") else ""
    return _newlines(head) + middle + (_newlines(tail) if middle else ""), {name: {} for name in kept}
