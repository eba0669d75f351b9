"""The application in this folder: its settings, its trace file, its plugins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from chainops.app.doctor.finding import Finding
from chainops.errors import ChainopsError
from chainops.settings import Settings, load_settings

__all__ = ["pipeline", "plugins", "settings_here", "trace_file"]


def settings_here(path: Path | None) -> tuple[Settings | None, Finding]:
    """The settings, or None where they are wrong."""
    name = str(path or "chainops.toml")
    try:
        found = load_settings(path)
    except ChainopsError as error:
        return None, Finding("application", "settings", "broken", error.message, error.hint)
    detail = name if Path(name).is_file() else "no chainops.toml here: defaults"
    return found, Finding("application", "settings", "ok", detail)


def trace_file(settings: Settings) -> Iterator[Finding]:
    """Whether the trace file, where there is one, is of this version and whole."""
    from chainops.store.maintain import check

    file = settings.trace.path
    if not file.is_file():
        yield Finding("application", "trace file", "ok", f"{file} is made by the first run")
        return
    try:
        report = check(file)
    except ChainopsError as error:
        yield Finding("application", "trace file", "broken", error.message, error.hint)
        return
    if report.problems:
        fix = "Restore a backup: chainops db backup makes them."
        yield Finding("application", "trace file", "broken", "; ".join(report.problems), fix)
    else:
        size = f"{report.bytes / 1024**2:.1f} MiB"
        yield Finding("application", "trace file", "ok", f"{file}: {report.runs} runs, {report.spans} spans, {size}")


def plugins(settings: Settings) -> Iterator[Finding]:
    """Every enabled plugin, loaded with its options; the installed ones that are not enabled, by name."""
    from chainops.app.plugins import enabled_plugin
    from chainops.plugin import installed_plugins, origin_of

    try:
        points = installed_plugins()
    except ChainopsError as error:
        yield Finding("plugins", "installed", "broken", error.message, error.hint)
        return
    for name in settings.plugins:
        try:
            enabled_plugin(settings, name)
        except ChainopsError as error:
            yield Finding("plugins", name, "broken", error.message, error.hint)
        else:
            yield Finding("plugins", name, "ok", f"enabled, {origin_of(points[name])}")
    for name in sorted(set(points) - set(settings.plugins)):
        fix = f"[plugins.{name}] in chainops.toml enables it."
        yield Finding("plugins", name, "absent", f"installed, not enabled: {origin_of(points[name])}", fix)


def pipeline(settings: Settings) -> Iterator[Finding]:
    """Whether every layer that the settings name is one that there is, in an order that the layers allow."""
    from chainops.app.layers import check_layers

    try:
        names = check_layers(settings)
    except ChainopsError as error:
        yield Finding("application", "pipeline", "broken", error.message, error.hint)
    else:
        yield Finding("application", "pipeline", "ok", " → ".join(names) or "empty")
