"""One typed tree of settings: ``chainops.toml``, then environment variables, then keyword arguments.

An environment variable is named after its place, with two underscores between levels: ``CHAINOPS_TRACE__PATH``
sets ``path`` in ``[trace]``. Later sources win, key by key. Every mistake is reported at once, with its place.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from chainops.errors import SetupError
from chainops.settings.place import Origins
from chainops.settings.tree import Settings

__all__ = ["DEFAULT_FILE", "from_environment", "from_file", "load_settings"]

PREFIX = "CHAINOPS_"
DEFAULT_FILE = "chainops.toml"


def load_settings(
    path: str | os.PathLike[str] | None = None, *, environ: Mapping[str, str] | None = None, **keywords: Any
) -> Settings:
    """Settings from a file, the environment, and keywords given by section: ``load_settings(trace={"path": "x.db"})``.

    Args:
        path: a TOML file that must exist; without one, ``chainops.toml`` in the working directory if it is there.
        environ: in place of ``os.environ``.

    Raises:
        SetupError: the file is missing or is no TOML, or any key or value is wrong; all of them are named.
    """
    file, text, tree = from_file(path)
    variables: dict[tuple[str, ...], str] = {}
    _merge(tree, from_environment(os.environ if environ is None else environ, variables))
    _merge(tree, keywords)
    origins = Origins(file, text, variables, keywords)
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(problem["loc"], problem, origins) for problem in error.errors()]
        raise SetupError(
            "Wrong settings: " + "; ".join(lines),
            hint="Mend them in the file, in the CHAINOPS_ variables or where they are passed.",
            code="setup.settings",
        ) from None
    settings._origins = origins
    return settings


def from_file(path: str | os.PathLike[str] | None) -> tuple[Path | None, str, dict[str, Any]]:
    """The file, its text and its tree; nothing where none is named and there is no ``chainops.toml``."""
    file = Path(DEFAULT_FILE if path is None else path)
    if path is None and not file.is_file():
        return None, "", {}
    try:
        text = file.read_text(encoding="utf-8-sig")
        return file, text, tomllib.loads(text)
    except OSError as error:
        raise SetupError(
            f"Cannot read the settings file {file}: {error.strerror}",
            hint="Check the path, or leave it out to run on defaults.",
            code="setup.settings_file",
        ) from None
    except ValueError as error:
        raise SetupError(
            f"{file} is not valid TOML: {error}", hint="Mend that line.", code="setup.settings_file"
        ) from None


def from_environment(environ: Mapping[str, str], names: dict[tuple[str, ...], str]) -> dict[str, Any]:
    """The tree in the ``CHAINOPS_`` variables; ``names`` gets the variable of each place."""
    tree: dict[str, Any] = {}
    for name, value in sorted(environ.items()):
        if name.startswith(PREFIX) and "__" in name:
            *sections, key = name.removeprefix(PREFIX).lower().split("__")
            at = tree
            for depth, section in enumerate(sections, 1):
                at = at.setdefault(section, {})
                if not isinstance(at, dict):
                    shorter = f"{PREFIX}{'__'.join(sections[:depth]).upper()}"
                    raise SetupError(
                        f"{name} sets a part of what {shorter} sets as a whole",
                        hint=f"Unset {name} or {shorter}.",
                        code="setup.settings",
                    )
            at[key] = _value(value)
            names[(*sections, key)] = name
    return tree


def _value(text: str) -> Any:
    """A TOML value where the text is one (``5``, ``true``, ``["a", "b"]``), else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _merge(tree: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = dict(value) if isinstance(value, Mapping) else value


def _explain(place: tuple[int | str, ...], problem: Any, origins: Origins) -> str:
    where = origins.of(tuple(str(part) for part in place))
    return _said(place, problem) + (f" ({where})" if where else "")


def _said(place: tuple[int | str, ...], problem: Any) -> str:
    dotted = ".".join(str(part) for part in place)
    if problem["type"] != "extra_forbidden":
        return f"{dotted} = {problem['input']!r}: {problem['msg']}"
    known = _known(place[:-1])
    close = difflib.get_close_matches(str(place[-1]), known, n=1)
    told = f" (did you mean {close[0]!r}?)" if close else f" (known: {', '.join(known)})" if known else ""
    return f"{dotted} does not exist{told}"


def _known(place: tuple[int | str, ...]) -> list[str]:
    """Names of the settings at a place, inside lists and tables of sections too."""
    kind: Any = Settings
    for part in place:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(str(part))
            kind = field.annotation if field else None
        else:  # a number in a list, a name in a table
            kind = next((arg for arg in reversed(get_args(kind)) if arg is not Ellipsis), None)
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []
