"""The contract: everything that a plugin can bring, as one frozen object."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from chainops.errors import SetupError
from chainops.layer import Middleware

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

__all__ = ["API_VERSION", "Plugin"]

API_VERSION = 1
"""Raised when a plugin that was right may be wrong with the next chainops."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One bundle that an installed package offers under the entry point group ``chainops.plugins``.

    Every part is optional but the name. Functions get the validated options first (None without a model).

    Args:
        name: how settings name it; equal to the entry point's name. Small letters, digits, underscores.
        version: of the plugin.
        options: a pydantic model of the table ``[plugins.<name>]``; None for a plugin without options.
        middleware: ``(options) -> layers``; each must stand in ``[pipeline].middleware``.
        engines: by name, ``(options, model) -> chat model``; ``App.engine("<plugin>/<engine>", model)`` makes one.
        stores: by kind ("cache", "limits"), ``(options) -> store``; ``store`` of that section names the plugin.
        detectors: by name, ``(options) -> detector`` of personal data; ``[pii].detectors`` names ``"<plugin>/<name>"``.
        scorers: by name, ``(options, span) -> number, text or None``; ``chainops plugin score`` stores what they say.
        commands: ``"module:name"`` of a ``typer.Typer``, run as ``chainops <name> ...`` where the plugin is enabled.
        migrations: SQL scripts in order, for tables ``<name>_...`` of its own in the trace file. Forward only: an
            applied one must never change.
        pages: by title, ``(options, trace file) -> HTML``; ``chainops plugin page`` writes one.
        api: the plugin API that it was written for.

    Raises:
        SetupError: the name is none.
    """

    name: str
    version: str = "0"
    options: type[BaseModel] | None = None
    middleware: Callable[[Any], Sequence[Middleware]] | None = None
    engines: Mapping[str, Callable[[Any, str], Any]] = field(default_factory=lambda: _NONE)
    stores: Mapping[str, Callable[[Any], Any]] = field(default_factory=lambda: _NONE)
    detectors: Mapping[str, Callable[[Any], Any]] = field(default_factory=lambda: _NONE)
    scorers: Mapping[str, Callable[[Any, Any], float | str | None]] = field(default_factory=lambda: _NONE)
    commands: str | None = None
    migrations: Sequence[str] = ()
    pages: Mapping[str, Callable[[Any, Path], str]] = field(default_factory=lambda: _NONE)
    api: int = API_VERSION

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise SetupError(
                f"{self.name!r} is no name for a plugin",
                hint="Small letters, digits and underscores, a letter first.",
                code="setup.plugin_name",
            )

    def check_options(self, options: Mapping[str, Any], *, where: Callable[[str], str] = lambda option: "") -> Any:
        """The validated options, or None for a plugin without a model.

        Args:
            where: what a message says behind an option: " (chainops.toml, line 7)".

        Raises:
            SetupError: an option is wrong; all mistakes are named, misspelt ones with the nearest known name.
        """
        from pydantic import ValidationError

        if self.options is not None:
            try:
                return self.options.model_validate(dict(options))
            except ValidationError as error:
                problems = "; ".join(
                    self._explain(problem) + where(str(problem["loc"][0]) if problem["loc"] else "")
                    for problem in error.errors()
                )
                raise SetupError(
                    f"Wrong options for plugin {self.name!r}: {problems}",
                    hint=f"Mend the table [plugins.{self.name}].",
                    code="setup.plugin_options",
                ) from None
        if options:
            raise SetupError(
                f"Plugin {self.name!r} takes no options, got {', '.join(options)}{where('')}",
                hint=f"Leave the table [plugins.{self.name}] empty.",
                code="setup.plugin_options",
            )
        return None

    def build(self, options: Mapping[str, Any], *, where: Callable[[str], str] = lambda option: "") -> list[Middleware]:
        """The layers, from the table in the settings. ``where`` as in :meth:`check_options`.

        Raises:
            SetupError: an option is wrong (all mistakes are named), or the plugin makes no middleware of them.
        """
        checked = self.check_options(options, where=where)
        return self._layers(checked) if self.middleware is not None else []

    def _layers(self, options: Any) -> list[Middleware]:
        try:
            layers = list(self.middleware(options))  # type: ignore[misc]
        except SetupError:
            raise
        except Exception as error:
            raise SetupError(
                f"Plugin {self.name!r} cannot make its middleware: {type(error).__name__}: {error}",
                hint=f"Check the table [plugins.{self.name}]; if it is right, report this to the plugin's authors.",
                code="setup.plugin_load",
            ) from error
        for layer in layers:
            if not isinstance(layer, Middleware):
                raise SetupError(
                    f"Plugin {self.name!r} made {layer!r}, which is not a Middleware",
                    hint="Report this to the plugin's authors.",
                    code="setup.plugin_load",
                )
        return layers

    def _explain(self, problem: Any) -> str:
        dotted = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden" and self.options is not None:
            known = list(self.options.model_fields)
            close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
            names = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}"
            return f"{dotted} does not exist ({names})"
        return f"{dotted}: {problem['msg']}"
