"""``chainops plugin``: what is installed, whether it is right, and a new one of your own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from chainops.cli.options import DEFAULT_DB, Db, Json
from chainops.cli.trace_io import output_file, print_json
from chainops.errors import ChainopsError, SetupError

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Plugins: list, info, check, new, score, page.")

Name = Annotated[str, typer.Argument(help="The plugin's name, as settings use it.")]
Settings = Annotated[Path | None, typer.Option("--settings", help="The settings file; else chainops.toml here.")]


@app.command("list")
def list_plugins(settings: Settings = None, as_json: Json = False) -> None:
    """Installed plugins, and which of them the settings enable. Imports none."""
    from chainops.plugin import installed_plugins, origin_of
    from chainops.settings import load_settings

    tree = load_settings(settings)
    points = installed_plugins()
    rows = [{"name": n, "enabled": n in tree.plugins, "origin": origin_of(points[n])} for n in sorted(points)]
    missing = sorted(set(tree.plugins) - set(points))
    if as_json:
        print_json({"installed": rows, "enabled_but_missing": missing})
        return
    for row in rows:
        typer.echo(f"{row['name']:<20} {'enabled' if row['enabled'] else 'off':<8} {row['origin']}")
    if any(not row["enabled"] for row in rows):
        typer.echo("off: installed, and runs only where settings have a table [plugins.<name>]", err=True)
    if not rows:
        typer.echo("No plugin is installed. `chainops plugin new NAME` writes one.", err=True)
    for name in missing:
        typer.echo(f"{name} is enabled, but not installed", err=True)


@app.command()
def info(name: Name, settings: Settings = None, as_json: Json = False) -> None:
    """What a plugin brings, its options, and its line for the allow-list. Imports it, unless that list refuses it."""
    from chainops.plugin import find_plugin, installed_plugins, origin_of, package_hash
    from chainops.settings import load_settings

    try:
        plugin = find_plugin(name, allowed=load_settings(settings).trust.plugins)
    except SetupError as error:
        if error.code != "setup.plugin_refused":
            raise
        _info_unread(name, error, as_json)
        return
    point = installed_plugins()[name]
    options = {} if plugin.options is None else _options_of(plugin.options)
    brings = _brings(plugin)
    found = {"name": name, "version": plugin.version, "api": plugin.api, "origin": origin_of(point)}
    found |= {"hash": package_hash(point), "options": options, "brings": brings}
    if as_json:
        print_json(found)
        return
    typer.echo(f"{name} {plugin.version} ({found['origin']}), plugin API {plugin.api}")
    for part, names in brings.items():
        typer.echo(f"  brings {part}: {', '.join(names)}")
    for option, (default, text) in options.items():
        typer.echo(f"  option {option} = {default}: {text}")
    typer.echo(_to_allow(name, str(found["hash"])))


def _info_unread(name: str, refused: SetupError, as_json: bool) -> None:
    """What can be said of a plugin that may not be imported: where it is from, and its hash."""
    from chainops.plugin import installed_plugins, origin_of, package_hash

    point = installed_plugins()[name]
    origin, package = origin_of(point), package_hash(point)
    if as_json:
        print_json({"name": name, "origin": origin, "hash": package, "refused": refused.message})
        return
    typer.echo(f"{name} ({origin})\n  not imported: {refused.message}")
    typer.echo(_to_allow(name, package))


def _to_allow(name: str, package: str) -> str:
    return f'\nTo allow exactly this package:\n\n[trust.plugins]\n{name} = "{package}"'


@app.command()
def check(
    name: Name,
    option: Annotated[list[str] | None, typer.Option("--option", "-o", help="KEY=VALUE; else as in settings.")] = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Run the conformance kit on an installed plugin. Exit code 1 when something is wrong.

    Options come from --option, else from the settings that enable it, else they are its defaults.
    """
    from chainops.plugin import find_plugin
    from chainops.settings import load_settings
    from chainops.testing import check_plugin

    tree = load_settings(settings)
    table = _pairs(option) if option else tree.plugins.get(name, {})
    findings = asyncio.run(check_plugin(find_plugin(name, allowed=tree.trust.plugins), table))
    failed = [each for each in findings if not each.passed]
    if as_json:
        rows = [{"check": each.check, "passed": each.passed, "problem": each.problem} for each in findings]
        print_json({"plugin": name, "passed": not failed, "findings": rows})
    else:
        for each in findings:
            typer.echo(f"{'ok  ' if each.passed else 'FAIL'} {each.check}{': ' if each.problem else ''}{each.problem}")
        typer.echo(f"{name}: {len(findings) - len(failed)} of {len(findings)} checks passed")
    if failed:
        raise typer.Exit(1)


@app.command()
def new(
    name: Name,
    into: Annotated[Path, typer.Option("--into", help="Where its folder is made.")] = Path(),
) -> None:
    """Write a complete package with tests, which pass at once: pyproject, source, tests, README, CI."""
    from chainops.cli.plugin_new import next_steps, write_package

    folder = write_package(name, into)
    typer.echo(str(folder))
    typer.echo(next_steps(folder), err=True)


@app.command()
def score(
    scorer: Annotated[str, typer.Argument(metavar="PLUGIN/SCORER", help="A scorer of an enabled plugin.")],
    run: Annotated[str | None, typer.Option(help="The beginning of a run's id, or: last. Else the newest.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="So many of the newest runs.")] = 100,
    db: Db = DEFAULT_DB,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Let a plugin judge stored spans; its scores replace those that it gave before."""
    from chainops.app.plugins import enabled_plugin
    from chainops.settings import load_settings
    from chainops.store.export import chosen_runs
    from chainops.store.reader import Reader
    from chainops.store.scoring import score_runs

    wanted, _, part = scorer.partition("/")
    plugin, options = enabled_plugin(load_settings(settings), wanted)
    judge = _part(plugin.scorers, part, f"Plugin {wanted!r} brings no scorer")
    with Reader(db) as reader:
        runs = [row.id for row in chosen_runs(reader, run=run, limit=limit)]
    try:
        count = score_runs(db, runs, f"{wanted}/{part}", lambda span: judge(options, span))
    except ChainopsError:
        raise
    except Exception as error:
        raise SetupError(
            f"The scorer {scorer!r} fails: {type(error).__name__}: {error}",
            hint="Report this to the plugin's authors.",
            code="setup.plugin_part",
        ) from error
    if as_json:
        print_json({"scorer": scorer, "runs": len(runs), "scores": count})
    else:
        typer.echo(f"{count} scores {scorer} on {len(runs)} runs in {db}")


@app.command()
def page(
    page: Annotated[str, typer.Argument(metavar="PLUGIN/PAGE", help="A page of an enabled plugin.")],
    out: Annotated[str, typer.Option("--out", help="The HTML file; - is stdout.")] = "-",
    db: Db = DEFAULT_DB,
    settings: Settings = None,
) -> None:
    """Write a page of a plugin about the trace file as HTML."""
    from chainops.app.plugins import enabled_plugin
    from chainops.settings import load_settings

    wanted, _, part = page.partition("/")
    plugin, options = enabled_plugin(load_settings(settings), wanted)
    html = _part(plugin.pages, part, f"Plugin {wanted!r} brings no page")(options, db)
    with output_file(out) as file:
        file.write(html)


def _part(parts: Any, name: str, problem: str) -> Any:
    import difflib

    if name in parts:
        return parts[name]
    close = difflib.get_close_matches(name, parts, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"It brings: {', '.join(parts) or 'none'}."
    raise SetupError(f"{problem} {name!r}", hint=hint, code="setup.plugin_part")


def _pairs(given: list[str]) -> dict[str, Any]:
    import tomllib

    table: dict[str, Any] = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise SetupError(f"--option {pair!r} has no =", hint="--option KEY=VALUE", code="setup.vars")
        try:
            table[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            table[key] = value
    return table


def _options_of(model: Any) -> dict[str, tuple[str, str]]:
    from pydantic_core import PydanticUndefined

    found = {}
    for name, option in model.model_fields.items():
        default = "(required)" if option.default is PydanticUndefined else repr(option.default)
        found[name] = (default, option.description or "")
    return found


def _brings(plugin: Any) -> dict[str, list[str]]:
    parts = {part: list(getattr(plugin, part)) for part in ("engines", "stores", "detectors", "scorers", "pages")}
    parts["middleware"] = ["yes"] if plugin.middleware is not None else []
    parts["commands"] = [f"chainops {plugin.name}"] if plugin.commands is not None else []
    parts["migrations"] = [str(len(plugin.migrations))] if plugin.migrations else []
    return {part: names for part, names in sorted(parts.items()) if names}
