"""The command line. stdout is data, stderr is talk; 0 done, 1 "no" to a --check, 2 your mistake."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from chainops.errors import ChainopsError, SetupError

__all__ = ["app", "main"]

# one line of help each, so that `chainops --help` imports no command module
_GROUPS = {
    "backup": "Copy databases and settings into one file, while everything runs.",
    "bundle": "Signed updates for sites without a network: keys, create, verify, apply, rollback, log.",
    "cache": "Cached answers: stats, show, explain, invalidate, calibrate, clear.",
    "chain": "Versions of whole chains: freeze, list, show, diff, reproduce.",
    "compress": "Make a text shorter, and show what was left out and why; bench: do answers survive?",
    "cost": "What model calls cost: prices, daily, by, top, savings, plan.",
    "db": "Create, check, back up and compact the trace file.",
    "demo": "Run the support desk on the shipped model, and show its trace.",
    "embedder": "The model that turns texts into vectors: export, show.",
    "docs": "Read the documentation offline: a page, or the places where words stand.",
    "doctor": "Say what works here, and how to mend what does not.",
    "init": "Start an application in a new folder, from a recipe.",
    "model": "Local models: add, list, show, verify, fit, run, bench, remove.",
    "plugin": "Plugins: list, info, check, new, score, page.",
    "pii": "Personal data: scan, test, erase, purge, key.",
    "prompt": "Prompts in versions: add, list, show, diff, render, test, promote, split, sync, import, export.",
    "python": "Run a script with the Python that chainops runs on.",
    "rails": "What may be said: check, test.",
    "restore": "Check a backup, and bring it back.",
    "route": "Models behind names: list, explain, calibrate.",
    "run": "Run an application from its folder: on one input, or on lines from stdin until told to stop.",
    "service": "Write systemd units, a Containerfile and a logrotate file for an application.",
    "settings": "Settings: show, check, schema.",
    "trace": "Look at recorded runs: list, show, tail, search, export, import, prune.",
    "upgrade": "Bring all files to this version, with a backup first.",
}


class _Lazy(TyperGroup):
    """Loads a command's module when the command is run, not before."""

    def list_commands(self, ctx: Any) -> list[str]:
        from chainops.cli.plugin_commands import commands_here

        return sorted({*_GROUPS, *commands_here()})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in _GROUPS:
            from chainops.cli.plugin_commands import command_of

            return command_of(cmd_name)
        if ctx.meta.get("chainops.listing"):
            return TyperCommand(cmd_name, help=_GROUPS[cmd_name])
        return typer.main.get_command(import_module(f"chainops.cli.{cmd_name}").app)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in _GROUPS and self.get_command(ctx, args[0]) is None:
            ctx.fail(_unknown(args[0]))
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        ctx.meta["chainops.listing"] = True
        super().format_help(ctx, formatter)


def _unknown(name: str) -> str:
    """What to say of a command that there is not."""
    import difflib

    from chainops.plugin import installed_plugins

    close = difflib.get_close_matches(name, _GROUPS, n=1)
    also = f" Did you mean {close[0]!r}?" if close else ""
    if name in installed_plugins():
        also = f" The plugin {name!r} is installed; a table [plugins.{name}] in chainops.toml here enables it."
    return f"No such command {name!r}.{also}"


app = typer.Typer(
    cls=_Lazy, no_args_is_help=True, add_completion=True, help="Middleware for LangGraph, traced into SQLite."
)


def _version(value: bool) -> None:
    if value:
        from chainops import __version__

        typer.echo(f"chainops {__version__}")
        raise typer.Exit


def _plugins(folder: Path | None) -> Path | None:
    if folder is not None:
        from chainops.plugin.folder import add_folder

        add_folder(folder)
    return folder


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
    plugins: Path | None = typer.Option(
        None, "--plugins", envvar="CHAINOPS_PLUGINS", callback=_plugins, help="A folder of wheels with plugins."
    ),
) -> None:
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; mistakes of the person become one line with a hint, and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that lacks a letter shows "?", not a traceback
            stream.reconfigure(errors="replace")
    try:
        app(list(sys.argv[1:] if argv is None else argv), prog_name="chainops", standalone_mode=True)
    except ChainopsError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from None
    except UnicodeEncodeError as error:
        if error.reason != "surrogates not allowed":
            raise
        hint = "Type it again, or set the terminal to UTF-8."
        wrong = SetupError(f"{error.object!a} is not text", hint=hint, code="setup.encoding")
        typer.echo(f"error: {wrong}", err=True)
        raise SystemExit(2) from None
    return 0
