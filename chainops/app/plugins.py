"""What enabled plugins bring beside their layers: engines, stores, detectors, tables, and their validated options."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chainops.errors import SetupError
from chainops.plugin import Plugin, find_plugin
from chainops.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from chainops.middleware.pii import Detector

__all__ = [
    "detector_of",
    "enabled_plugin",
    "engine_of",
    "migrate_plugins",
    "named_plugin",
    "option_of",
    "store_of",
]


def enabled_plugin(settings: Settings, name: str) -> tuple[Plugin, Any]:
    """An enabled plugin and its validated options.

    Raises:
        SetupError: the settings do not enable it (``setup.plugin_disabled``), or it does not load.
    """
    if name not in settings.plugins:
        close = difflib.get_close_matches(name, settings.plugins, n=1)
        raise SetupError(
            f"Plugin {name!r} is not enabled",
            hint=f"Did you mean {close[0]!r}?" if close else f"Give it a table [plugins.{name}] in chainops.toml.",
            code="setup.plugin_disabled",
        )
    plugin = named_plugin(settings, name)
    return plugin, plugin.check_options(settings.plugins[name], where=option_of(settings, name))


def named_plugin(settings: Settings, name: str) -> Plugin:
    """A plugin that the settings enable; an error says where they do."""
    try:
        return find_plugin(name, allowed=settings.trust.plugins)
    except SetupError as error:
        where = settings.where("plugins", name)
        raise SetupError(error.message + where, hint=error.hint, code=error.code) from error.__cause__


def option_of(settings: Settings, name: str) -> Callable[[str], str]:
    """Where an option of a plugin was written."""
    return lambda option: settings.where("plugins", name, option)


def engine_of(settings: Settings, name: str, model: str) -> BaseChatModel:
    """The chat model ``model`` of the engine ``name`` ("plugin/engine", or "plugin" where it brings one only).

    Raises:
        SetupError: the plugin is not enabled, brings no such engine, or cannot make it (``setup.engine``).
    """
    from langchain_core.language_models import BaseChatModel

    wanted, _, engine = name.partition("/")
    plugin, options = enabled_plugin(settings, wanted)
    names = list(plugin.engines)
    if not engine and len(names) == 1:
        engine = names[0]
    if engine not in plugin.engines:
        close = difflib.get_close_matches(engine, names, n=1)
        brings = f"Did you mean '{wanted}/{close[0]}'?" if close else f"It brings: {', '.join(names) or 'none'}."
        raise SetupError(f"Plugin {wanted!r} brings no engine {engine!r}", hint=brings, code="setup.engine")
    try:
        made = plugin.engines[engine](options, model)
    except SetupError:
        raise
    except Exception as error:
        raise SetupError(
            f"Plugin {wanted!r} cannot make its engine {engine!r}: {type(error).__name__}: {error}",
            hint=f"Check the table [plugins.{wanted}] and the model {model!r}.",
            code="setup.engine",
        ) from error
    if not isinstance(made, BaseChatModel):
        raise SetupError(
            f"The engine '{wanted}/{engine}' made a {type(made).__name__}, not a LangChain chat model",
            hint="Report this to the plugin's authors.",
            code="setup.engine",
        )
    return made


def store_of(settings: Settings, name: str, kind: str) -> Any:
    """The store for ``kind`` ("cache", "limits") that the enabled plugin ``name`` brings.

    Raises:
        SetupError: the plugin is not enabled, brings no such store, or cannot make it (``setup.store``).
    """
    plugin, options = enabled_plugin(settings, name)
    if kind not in plugin.stores:
        raise SetupError(
            f"Plugin {name!r} brings no store for {kind!r}",
            hint=f"It brings: {', '.join(plugin.stores) or 'none'}.",
            code="setup.store",
        )
    try:
        return plugin.stores[kind](options)
    except SetupError:
        raise
    except Exception as error:
        raise SetupError(
            f"Plugin {name!r} cannot make its store for {kind!r}: {type(error).__name__}: {error}",
            hint=f"Check the table [plugins.{name}], and whether its server runs.",
            code="setup.store",
        ) from error


def detector_of(settings: Settings, name: str) -> Detector:
    """The detector of personal data ``name`` ("plugin/detector", or "plugin" where it brings one only).

    Raises:
        SetupError: the plugin is not enabled, brings no such detector, or cannot make it (``setup.detector``).
    """
    wanted, _, detector = name.partition("/")
    plugin, options = enabled_plugin(settings, wanted)
    names = list(plugin.detectors)
    detector = detector or (names[0] if len(names) == 1 else "")
    if detector not in names:
        close = difflib.get_close_matches(detector, names, n=1)
        brings = f"Did you mean '{wanted}/{close[0]}'?" if close else f"It brings: {', '.join(names) or 'none'}."
        raise SetupError(f"Plugin {wanted!r} brings no detector {detector!r}", hint=brings, code="setup.detector")
    try:
        made: Detector = plugin.detectors[detector](options)
    except SetupError:
        raise
    except Exception as error:
        raise SetupError(
            f"Plugin {wanted!r} cannot make its detector {detector!r}: {type(error).__name__}: {error}",
            hint=f"Check the table [plugins.{wanted}].",
            code="setup.detector",
        ) from error
    return made


def migrate_plugins(settings: Settings) -> None:
    """Make the tables of enabled plugins in the trace file; a file is not made where no plugin has any."""
    for name in settings.plugins:
        plugin = named_plugin(settings, name)
        if plugin.migrations:
            from chainops.store.plugin_tables import apply_migrations

            apply_migrations(settings.trace.path, name, plugin.migrations)
