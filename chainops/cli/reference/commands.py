"""Every command with its arguments and options, from the command line itself."""

from __future__ import annotations

from typing import Any

from chainops.cli.reference.table import head, one_line, table

__all__ = ["page", "walk"]


def page() -> str:
    """Commands in alphabetical order, as ``--help`` has them."""
    parts = [head("All commands", "As `--help` shows them. What they print, and examples: [Command line](../cli.md).")]
    for name, command in sorted(walk().items()):
        rows = [_row(parameter) for parameter in command.params if parameter.name not in _COMPLETION]
        parts.append(f"## `{name}`\n\n{one_line(command.help)}\n" + (f"\n{table(_COLUMNS, rows)}" if rows else ""))
    return "\n".join(parts)


_COLUMNS = ("argument or option", "default", "meaning")
_COMPLETION = ("install_completion", "show_completion")


def walk() -> dict[str, Any]:
    """Every command that can be run, by its full name; those that plugins bring are left out."""
    import typer.main

    from chainops.cli import _GROUPS, app

    found: dict[str, Any] = {}

    def down(name: str, command: Any, parent: Any, only: Any) -> None:
        context = command.context_class(command, info_name=name, parent=parent)
        if not hasattr(command, "list_commands"):
            found[name] = command
            return
        for inner in command.list_commands(context):
            if only is None or inner in only:
                down(f"{name} {inner}", command.get_command(context, inner), context, None)

    down("chainops", typer.main.get_command(app), None, _GROUPS)
    return found


def _row(parameter: Any) -> tuple[str, str, str]:
    if parameter.param_type_name == "argument":
        name = f"`{parameter.metavar or parameter.name.upper()}`" + (" ..." if parameter.nargs == -1 else "")
    else:
        flags = ", ".join(f"`{flag}`" for flag in (*parameter.opts, *parameter.secondary_opts))
        name = flags if parameter.is_flag else f"{flags} {parameter.metavar or _type(parameter)}"
    default = parameter.default
    plain = default is not None and not callable(default) and default not in (False, ())
    shown = "required" if parameter.required else f"`{default}`" if plain else " "
    return name, shown, getattr(parameter, "help", "") or ""


def _type(parameter: Any) -> str:
    return str(getattr(parameter.type_descriptor.annotation, "__name__", "value")).upper()
