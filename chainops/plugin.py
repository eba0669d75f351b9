"""What a plugin is, and how an installed one is found. Installed is not enabled: settings name what runs."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chainops.errors import SetupError
from chainops.pipeline import Middleware

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["API_VERSION", "GROUP", "Plugin", "find_plugin", "installed_plugins"]

GROUP = "chainops.plugins"
API_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One bundle that an installed package offers under the entry point group ``chainops.plugins``.

    Args:
        name: how settings name it; equal to the entry point's name.
        options: a pydantic model of the table ``[plugins.<name>]``; None for a plugin without options.
        middleware: makes the layers from the validated options (None where there is no model).
        version: of the plugin.
        api: the plugin API that it was written for.
    """

    name: str
    options: type[BaseModel] | None = None
    middleware: Callable[[Any], Sequence[Middleware]] | None = None
    version: str = "0"
    api: int = API_VERSION

    def build(self, options: Mapping[str, Any]) -> list[Middleware]:
        """The layers, from the table in the settings.

        Raises:
            SetupError: an option is wrong (all mistakes are named), or the plugin makes no middleware of them.
        """
        from pydantic import ValidationError

        checked: Any = None
        if self.options is not None:
            try:
                checked = self.options.model_validate(dict(options))
            except ValidationError as error:
                problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
                raise SetupError(
                    f"Wrong options for plugin {self.name!r}: {problems}",
                    hint=f"Mend the table [plugins.{self.name}].",
                    code="setup.plugin_options",
                ) from None
        elif options:
            raise SetupError(
                f"Plugin {self.name!r} takes no options, got {', '.join(options)}",
                hint=f"Leave the table [plugins.{self.name}] empty.",
                code="setup.plugin_options",
            )
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


def installed_plugins() -> dict[str, Any]:
    """Entry points of installed plugins by name; nothing is imported."""
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP)}


def find_plugin(name: str) -> Plugin:
    """The installed plugin ``name``.

    Raises:
        SetupError: it is not installed, does not load, is no ``Plugin``, or speaks another API version.
    """
    points = installed_plugins()
    if name not in points:
        close = difflib.get_close_matches(name, points, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Installed: {', '.join(sorted(points)) or 'none'}."
        raise SetupError(f"There is no plugin {name!r}", hint=hint, code="setup.plugin_unknown")
    point = points[name]
    try:
        plugin = point.load()
    except Exception as error:
        raise SetupError(
            f"Plugin {name!r} ({point.value}) does not load: {type(error).__name__}: {error}",
            hint="Update or remove the package, or take the plugin out of the settings.",
            code="setup.plugin_load",
        ) from error
    if not isinstance(plugin, Plugin):
        raise SetupError(
            f"Plugin {name!r} ({point.value}) is a {type(plugin).__name__}, not a chainops Plugin",
            hint="Its entry point must name a module attribute that is a Plugin(...).",
            code="setup.plugin_load",
        )
    if plugin.api != API_VERSION:
        raise SetupError(
            f"Plugin {name!r} speaks plugin API {plugin.api}, this chainops speaks {API_VERSION}",
            hint="Install a version of the plugin that fits.",
            code="setup.plugin_api",
        )
    return plugin
