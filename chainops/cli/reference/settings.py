"""Every setting, from the models."""

from __future__ import annotations

import re
from typing import Any

from chainops.cli.reference.table import head, one_line, table

__all__ = ["page"]


def page() -> str:
    """Sections, keys, types, defaults and descriptions."""
    from pydantic import BaseModel

    from chainops.settings import Settings

    parts = [
        head(
            "All settings",
            "Each section of `chainops.toml` with its keys. What they are for: [Settings](../settings.md).",
        )
    ]
    whole: list[tuple[str, str, str, str]] = []
    for section, field in sorted(Settings.model_fields.items()):
        model: Any = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            rows = [_row(name, inner) for name, inner in model.model_fields.items()]
            parts.append(
                f"## `[{section}]`\n\n{one_line(model.__doc__)}\n\n"
                + table(("key", "type", "default", "meaning"), rows)
            )
        else:
            whole.append(_row(section, field))
    parts.append("## Tables\n\n" + table(("table", "type", "default", "meaning"), whole))
    return "\n".join(parts)


def _row(name: str, field: Any) -> tuple[str, str, str, str]:
    default = field.get_default(call_default_factory=True)
    shown = "required" if field.is_required() else "not set" if default is None else f"`{_value(default)}`"
    return f"`{name}`", f"`{_type(field)}`", shown, _limits(field) + (field.description or "")


def _type(field: Any) -> str:
    text = field.annotation.__name__ if isinstance(field.annotation, type) else str(field.annotation)
    if "[" in str(field.annotation) or "|" in str(field.annotation):
        text = str(field.annotation)
    return re.sub(r"\b(?:[a-z_]+\.)+([A-Z]\w*)", r"\1", text.replace("typing.", ""))


def _limits(field: Any) -> str:
    found = []
    for limit in field.metadata:
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
            if (value := getattr(limit, name, None)) is not None:
                found.append(f"{sign} {value}")
    return f"({', '.join(found)}) " if found else ""


def _value(value: Any) -> str:
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        return type(value).__name__
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return f"[{', '.join(_value(item) for item in value)}]"
    return str(value) if isinstance(value, int | float | dict) else f'"{value}"'
