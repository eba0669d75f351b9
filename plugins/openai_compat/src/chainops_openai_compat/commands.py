"""``chainops openai_compat models``: which servers answer, and what they have."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Servers that speak OpenAI's API.")


@app.callback()
def _group() -> None:
    """Keeps ``models`` a command of its own."""


@app.command()
def models(
    engine: Annotated[str | None, typer.Argument(help="vllm, ollama, llama_server or other; else all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """The models that the servers of the settings have. Exit code 1 when one that was asked for does not answer."""
    import json

    from chainops.errors import CallError, SetupError
    from chainops.settings import load_settings
    from chainops_openai_compat import Options, plugin
    from chainops_openai_compat.engine import served, url_of

    options = plugin.check_options(load_settings().plugins.get("openai_compat", {}))
    if engine is not None and engine not in Options.model_fields:
        known = ", ".join(Options.model_fields)
        raise SetupError(f"There is no engine {engine!r}", hint=f"There are: {known}.", code="setup.engine")
    found: dict[str, list[str]] = {}
    problems: dict[str, str] = {}
    for name in Options.model_fields if engine is None else [engine]:
        server = getattr(options, name)
        if name == "other" and server.url is None and engine is None:
            continue
        try:
            found[name] = served(name, server)
        except CallError as error:
            problems[name] = error.message
    if as_json:
        typer.echo(json.dumps({"models": found, "problems": problems}))
    else:
        for name, names in found.items():
            for each in names or ["(none)"]:
                typer.echo(f"{name:<14} {each:<40} {url_of(name, getattr(options, name))}")
        for name, problem in problems.items():
            typer.echo(f"{name}: {problem}", err=True)
    if problems and (engine is not None or not found):
        raise typer.Exit(1)
