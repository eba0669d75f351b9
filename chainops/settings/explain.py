"""What settings are in force, and where each of them comes from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from chainops.settings.load import DEFAULT_FILE, from_environment, from_file, load_settings

__all__ = ["MASK", "Setting", "effective"]

MASK = "***"
_SECRET = re.compile(
    r"(?:^|_)(?:password|passwd|secret|token|api_?key|private_?key|credentials?)(?:_|$)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. ``key``: its place ("trace.path"); ``value``: as in JSON; ``source``: where it comes from."""

    key: str
    value: Any
    source: str
    description: str


def effective(path: str | os.PathLike[str] | None = None, *, environ: Mapping[str, str] | None = None) -> list[Setting]:
    """Every setting in force, in the order of the sections; texts that are named like secrets are masked.

    Raises:
        SetupError: as :func:`~chainops.settings.load_settings`.
    """
    variables = os.environ if environ is None else environ
    settings = load_settings(path, environ=variables)
    sources = [("environment", from_environment(variables, {})), (str(path or DEFAULT_FILE), from_file(path)[2])]
    return [
        Setting(key, _masked(key, value), next((s for s, tree in sources if _has(tree, key)), "default"), text)
        for key, value, text in _walk(settings)
    ]


def _walk(settings: BaseModel) -> Iterator[tuple[str, Any, str]]:
    plain = settings.model_dump(mode="json")
    for section, field in type(settings).model_fields.items():
        inner = getattr(settings, section)
        if isinstance(inner, BaseModel):
            for key, each in type(inner).model_fields.items():
                yield f"{section}.{key}", plain[section][key], each.description or ""
        else:
            for name, table in plain[section].items():
                yield f"{section}.{name}", table, field.description or ""


def _has(tree: Mapping[str, Any], key: str) -> bool:
    section, _, rest = key.partition(".")
    return rest in tree.get(section, {})


def _masked(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _masked(name, inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_masked(key, inner) for inner in value]
    return MASK if isinstance(value, str) and _SECRET.search(key.rpartition(".")[2]) else value
