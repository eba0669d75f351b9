"""Every public name with its signature and what it says of itself."""

from __future__ import annotations

import inspect
import re
import textwrap
from importlib import import_module
from typing import Any

from chainops.cli.reference.table import head

__all__ = ["MODULES", "page"]

MODULES = ("chainops", "chainops.plugin", "chainops.testing", "chainops.errors")


def page() -> str:
    """A heading for each name in ``__all__`` of the public modules."""
    parts = [
        head(
            "All public names", "Signatures and docstrings. What they are for stands in the pages that the index names."
        )
    ]
    for module in MODULES:
        parts.append(f"## {module}\n")
        names = import_module(module)
        parts += [_entry(module, name, getattr(names, name)) for name in names.__all__]
    return "\n".join(parts)


def _entry(module: str, name: str, value: Any) -> str:
    text = f"### `{module}.{name}`\n"
    if callable(value):
        text += f"\n```text\n{name}{_signature(value)}\n```\n"
    described = callable(value) or inspect.ismodule(value)
    return text + (f"\n{_markdown(inspect.getdoc(value) or '')}\n" if described else f"\n{_kind(value)}\n")


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "By name: " + ", ".join(f"`{key}`" for key in value) + "."
    return f"`{value!r}`"


def _signature(value: Any) -> str:
    """As Python writes it, each object without a form of its own as ``...``."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "(...)"
    parts, starred = [], False
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
        starred = starred or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(parameter.kind.name, "")
        text = stars + parameter.name
        if parameter.annotation is not parameter.empty:
            text += f": {_named(parameter.annotation)}"
        if parameter.default is not parameter.empty:
            shown = repr(parameter.default)
            text += f" = {'...' if shown.startswith('<') or ' at 0x' in shown else shown}"
        parts.append(text)
    returns = "" if found.return_annotation in (found.empty, "None", None) else f" -> {_named(found.return_annotation)}"
    return f"({', '.join(parts)}){returns}"


def _named(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else str(getattr(annotation, "__name__", annotation))


def _markdown(docstring: str) -> str:
    """Roles and double backticks as Markdown; ``Args:`` and its like as blocks of text, so that nothing is lost."""
    text = re.sub(r":\w+:`~?([\w.]+)`", lambda found: f"`{found[1].rpartition('.')[2]}`", docstring).replace("``", "`")
    parts, plain = [], []
    for block in re.split(r"\n(?=(?:Args|Raises|Attributes|Class attributes|Returns|Source):\n)", text):
        if re.match(r"(Args|Raises|Attributes|Class attributes|Returns|Source):\n", block):
            title, _, rest = block.partition("\n")
            parts.append(f"{title}\n\n```text\n{textwrap.dedent(rest).strip()}\n```")
        else:
            plain.append(_examples(block))
    return "\n\n".join([*plain, *parts])


def _examples(block: str) -> str:
    """Examples and drawings, which are set off by ``>>>``, a colon pair or indentation, as text."""
    found, waiting = [], list[str]()
    for line in [*block.splitlines(), ""]:
        if line.startswith(">>>") or (
            waiting and line.strip() and not line[:1].isspace() and waiting[-1].startswith(">>>")
        ):
            waiting.append(line)
        elif waiting:
            found.append("```text\n" + "\n".join(waiting) + "\n```")
            waiting = []
            found.append(line)
        else:
            found.append(line)
    return "\n".join(found).strip()
