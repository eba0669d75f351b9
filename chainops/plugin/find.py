"""Installed plugins, and one of them by its name. Whatever is wrong says which, why and where."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Mapping
from typing import Any

from chainops.errors import SetupError
from chainops.plugin.contract import API_VERSION, Plugin
from chainops.plugin.trust import check_allowed

__all__ = ["GROUP", "find_plugin", "installed_plugins", "origin_of"]

GROUP = "chainops.plugins"


def installed_plugins() -> dict[str, Any]:
    """Entry points of installed plugins by name; nothing is imported.

    Raises:
        SetupError: two packages offer one name (``setup.plugin_twice``).
    """
    from importlib.metadata import entry_points

    found: dict[str, Any] = {}
    for point in entry_points(group=GROUP):
        if point.name in found and found[point.name].value != point.value:
            raise SetupError(
                f"Two packages offer a plugin {point.name!r}: {origin_of(found[point.name])} and {origin_of(point)}",
                hint="Uninstall one of them.",
                code="setup.plugin_twice",
            )
        found[point.name] = point
    return found


def origin_of(point: Any) -> str:
    """Where an entry point leads, and which package brought it: ``chainops_x:plugin, from chainops-x 1.0``."""
    package = getattr(point, "dist", None)
    return point.value if package is None else f"{point.value}, from {package.name} {package.version}"


def find_plugin(name: str, *, allowed: Mapping[str, str] | None = None) -> Plugin:
    """The installed plugin ``name``.

    Args:
        allowed: names of plugins to the hash of their package, see :func:`~chainops.plugin.package_hash`. With it, no
            other plugin is imported. None: any.

    Raises:
        SetupError: it is not installed, not allowed, does not load, is no ``Plugin``, calls itself otherwise, or speaks
            another API version.
    """
    points = installed_plugins()
    if name not in points:
        close = difflib.get_close_matches(name, points, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Installed: {', '.join(sorted(points)) or 'none'}."
        raise SetupError(f"There is no plugin {name!r}", hint=hint, code="setup.plugin_unknown")
    point = points[name]
    if allowed is not None:
        check_allowed(point, allowed)
    try:
        plugin = point.load()
    except Exception as error:
        raise SetupError(
            f"Plugin {name!r} ({origin_of(point)}) does not load: {type(error).__name__}: {error}{_place(error)}",
            hint="Update or remove the package, or take the plugin out of the settings.",
            code="setup.plugin_load",
        ) from error
    if not isinstance(plugin, Plugin):
        raise SetupError(
            f"Plugin {name!r} ({origin_of(point)}) is a {type(plugin).__name__}, not a chainops Plugin",
            hint="Its entry point must name a module attribute that is a Plugin(...).",
            code="setup.plugin_load",
        )
    if plugin.api != API_VERSION:
        raise SetupError(
            f"Plugin {name!r} ({origin_of(point)}) speaks plugin API {plugin.api}, this chainops speaks {API_VERSION}",
            hint="Install a version of the plugin that fits.",
            code="setup.plugin_api",
        )
    if plugin.name != name:
        raise SetupError(
            f"The entry point {name!r} ({origin_of(point)}) brings a plugin that calls itself {plugin.name!r}",
            hint="The two names must be equal; report this to the plugin's authors.",
            code="setup.plugin_load",
        )
    return plugin


def _place(error: Exception) -> str:
    """Where in the plugin it failed: the last line of code that is not Python's own import machinery."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    outside = [f for f in frames if f.filename != __file__ and "importlib" not in f.filename]
    return f" ({outside[-1].filename}, line {outside[-1].lineno})" if outside else ""
