"""What every plugin must keep true: for ``chainops plugin check``, and for tests of plugin packages."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from chainops.errors import ChainopsError
from chainops.layer import Middleware
from chainops.plugin import API_VERSION, Plugin
from chainops.testing.conformance import check_middleware

__all__ = ["Finding", "check_plugin"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked. ``problem`` is empty where it is right."""

    check: str
    problem: str = ""

    @property
    def passed(self) -> bool:
        """True where nothing is wrong."""
        return not self.problem


async def check_plugin(plugin: Any, options: Mapping[str, Any] | None = None) -> list[Finding]:
    """Check all that a plugin brings; never raises for what is wrong with it.

    Its middleware goes through every check of the conformance kit, its migrations through a fresh trace file, its pages
    and scorers over a file with one run. Engines and stores are not asked: that needs their servers, see
    :class:`~chainops.testing.EngineConformance` and :class:`~chainops.testing.StoreConformance`.

    Args:
        plugin: what the entry point leads to.
        options: the table ``[plugins.<name>]``; its defaults when None.
    """
    if not isinstance(plugin, Plugin):
        return [Finding("is a Plugin", f"it is a {type(plugin).__name__}")]
    found = [Finding("is a Plugin"), _api(plugin), *_options(plugin)]
    try:
        checked = plugin.check_options(options or {})
    except ChainopsError as error:
        return [*found, Finding("takes its options", f"{error.message}; give them with --option")]
    found.append(Finding("takes its options"))
    found += await _middleware(plugin, options or {})
    found += [_callable("engine", name, plugin.engines[name]) for name in plugin.engines]
    found += [_callable("store", name, plugin.stores[name]) for name in plugin.stores]
    found += [_callable("detector", name, plugin.detectors[name]) for name in plugin.detectors]
    if plugin.commands is not None:
        found.append(_commands(plugin))
    with tempfile.TemporaryDirectory(prefix="chainops-check-") as folder:
        file = Path(folder) / "check.db"
        found += _migrations(plugin, file)
        found += _over_a_run(plugin, checked, file)
    return found


def _api(plugin: Plugin) -> Finding:
    problem = "" if plugin.api == API_VERSION else f"it was written for {plugin.api}, this is {API_VERSION}"
    return Finding("speaks this plugin API", problem)


def _options(plugin: Plugin) -> list[Finding]:
    if plugin.options is None:
        return []
    strict = plugin.options.model_config.get("extra") == "forbid"
    dumb = [name for name, option in plugin.options.model_fields.items() if not option.description]
    return [
        Finding("a misspelt option is an error", "" if strict else 'the model lacks extra="forbid"'),
        Finding("every option says what it is", f"no description: {', '.join(dumb)}" if dumb else ""),
    ]


async def _middleware(plugin: Plugin, options: Mapping[str, Any]) -> list[Finding]:
    if plugin.middleware is None:
        return []
    try:
        first, second = plugin.build(options), plugin.build(options)
    except ChainopsError as error:
        return [Finding("makes its middleware", error.message)]
    found = [Finding("makes its middleware")]
    shared = [one.name for one, other in zip(first, second, strict=False) if one is other]
    found.append(
        Finding("each application gets its own layers", f"one object for all: {', '.join(shared)}" if shared else "")
    )
    for at, layer in enumerate(first):
        failed = await check_middleware(partial(_layer, plugin, options, at))
        problem = "; ".join(f"{name}: {message}" for name, message in failed.items())
        found.append(Finding(f"middleware {layer.name!r} passes the conformance kit", problem))
    return found


def _layer(plugin: Plugin, options: Mapping[str, Any], at: int) -> Middleware:
    return plugin.build(options)[at]


def _callable(part: str, name: str, made: Any) -> Finding:
    return Finding(f"{part} {name!r} is a function", "" if callable(made) else "it is not callable")


def _commands(plugin: Plugin) -> Finding:
    from importlib import import_module

    module, _, name = str(plugin.commands).partition(":")
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # noqa: BLE001 - the plugin's own code: whatever is wrong is reported
        return Finding("its commands load", f"{plugin.commands}: {type(error).__name__}: {error}")
    problem = (
        "" if type(found).__name__ == "Typer" else f"{plugin.commands} is a {type(found).__name__}, no typer.Typer"
    )
    return Finding("its commands load", problem)


def _migrations(plugin: Plugin, file: Path) -> list[Finding]:
    from chainops.store.plugin_tables import apply_migrations

    if not plugin.migrations:
        return []
    try:
        apply_migrations(file, plugin.name, plugin.migrations)
        apply_migrations(file, plugin.name, plugin.migrations)
    except ChainopsError as error:
        return [Finding("its migrations apply", error.message)]
    return [Finding("its migrations apply")]


def _over_a_run(plugin: Plugin, options: Any, file: Path) -> list[Finding]:
    if not plugin.pages and not plugin.scorers:
        return []
    _record_a_run(file)
    return [_page(plugin, name, options, file) for name in plugin.pages] + [
        _scorer(plugin, name, options, file) for name in plugin.scorers
    ]


def _record_a_run(file: Path) -> None:
    from langgraph.graph import START, MessagesState, StateGraph

    from chainops.adapters.langgraph import instrument
    from chainops.middleware.trace import Trace
    from chainops.testing.model import ScriptedModel

    model = ScriptedModel(["An answer."])
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_edge(START, "answer")
    trace = Trace(file)
    try:
        graph: Any = instrument(builder.compile(), [trace])
        graph.invoke({"messages": ["A question?"]})
    finally:
        trace.close()


def _page(plugin: Plugin, name: str, options: Any, file: Path) -> Finding:
    try:
        html = plugin.pages[name](options, file)
    except Exception as error:  # noqa: BLE001 - the plugin's own code: whatever is wrong is reported
        return Finding(f"page {name!r} is made", f"{type(error).__name__}: {error}")
    problem = "" if isinstance(html, str) and html.strip() else f"it gave {html!r}, no text"
    return Finding(f"page {name!r} is made", problem)


def _scorer(plugin: Plugin, name: str, options: Any, file: Path) -> Finding:
    from chainops.store.reader import Reader

    with Reader(file) as reader:
        spans = reader.spans(reader.find_run("last").id)
    for span in spans:
        try:
            said: Any = plugin.scorers[name](options, span)
        except Exception as error:  # noqa: BLE001 - the plugin's own code: whatever is wrong is reported
            return Finding(f"scorer {name!r} judges", f"{type(error).__name__}: {error}")
        if said is not None and not isinstance(said, str | int | float):
            return Finding(f"scorer {name!r} judges", f"it said {said!r}, no number, text or None")
    return Finding(f"scorer {name!r} judges")
