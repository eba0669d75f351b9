"""Commands that enabled plugins bring: ``chainops <plugin> ...`` in a folder whose settings enable it."""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

from chainops.errors import ChainopsError, SetupError

__all__ = ["command_of", "commands_here"]


def _enabled() -> list[str]:
    """Names of the plugins that ``chainops.toml`` of the working directory enables; cheap, for ``--help``."""
    try:
        tree = tomllib.loads(Path("chainops.toml").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return []  # a command that reads the settings says what is wrong with them
    plugins = tree.get("plugins", {})
    return sorted(plugins) if isinstance(plugins, dict) else []


def commands_here() -> list[str]:
    """Names of the enabled plugins that bring commands. One that does not load brings none."""
    found = []
    for name in _enabled():
        try:
            if _plugin(name).commands is not None:
                found.append(name)
        except ChainopsError:
            continue  # `chainops plugin check` and every run of the application say why
    return found


def command_of(name: str) -> Any:
    """The command group of the enabled plugin ``name``, or None where it is not enabled or has none.

    Raises:
        SetupError: it is enabled and does not load, or its commands do not (``setup.plugin_load``).
    """
    if name not in _enabled() or (place := _plugin(name).commands) is None:
        return None
    import typer

    module, _, attribute = place.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:
        raise SetupError(
            f"The commands of plugin {name!r} ({place}) do not load: {type(error).__name__}: {error}",
            hint="Update or remove the package, or take the plugin out of the settings.",
            code="setup.plugin_load",
        ) from error
    if not isinstance(found, typer.Typer):
        raise SetupError(
            f"The commands of plugin {name!r} ({place}) are a {type(found).__name__}, not a typer.Typer",
            hint="Report this to the plugin's authors.",
            code="setup.plugin_load",
        )
    command: Any = typer.main.get_command(found)
    command.name, command.help = name, command.help or f"Commands of the plugin {name}."
    return command


def _plugin(name: str) -> Any:
    from chainops.plugin import find_plugin
    from chainops.settings import load_settings

    return find_plugin(name, allowed=load_settings().trust.plugins)
