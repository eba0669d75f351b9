"""``chainops init``: a new application folder, from a recipe."""

from __future__ import annotations

import difflib
import os
import re
import shutil
from pathlib import Path
from typing import Annotated

import typer

from chainops.errors import SetupError

__all__ = ["app", "recipes"]

app = typer.Typer(add_completion=False)
STARTER = "starter"
EXTRAS = (("ChatLlama", "llama", ("llama_cpp", "xllamacpp")), ("from langchain.", "langchain", ("langchain",)))
"""What stands in a recipe's source, the extra that it takes, and the modules of which it needs one."""
LEFT_OUT = shutil.ignore_patterns("__pycache__", "test_recipe.py", "*.db", "*.db-*", ".pytest_cache", "chainops-cache")


@app.command()
def init(
    folder: Annotated[
        Path | None, typer.Argument(help="The new folder; . is this one, where it has none of the files.")
    ] = None,
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="What to start from.")] = STARTER,
    list_recipes: Annotated[bool, typer.Option("--list", help="Say which recipes there are.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Start an application: a graph, its settings, a test and a README, in a new folder."""
    from chainops.cli.trace_io import print_json

    known = recipes()
    if list_recipes:
        if as_json:
            print_json([{"recipe": name, "title": _title(path)} for name, path in known.items()])
        else:
            for name, path in known.items():
                typer.echo(f"{name:<20} {_title(path)}")
        return
    if folder is None:
        raise SetupError(
            "No folder was given", hint="chainops init my_app, or --list for the recipes.", code="setup.args"
        )
    files = _copy(_chosen(recipe, known), folder)
    if as_json:
        print_json({"folder": str(folder), "recipe": recipe, "files": files})
        return
    for name in files:
        typer.echo(str(folder / name))
    python = "chainops python" if "CHAINOPS_EXE" in os.environ else "python"  # the one file has its own
    first = _first(folder / "README.md").replace("python ", f"{python} ")
    steps = [f"cd {folder}", *_missing(folder / "app.py"), first, "and so on, as README.md says"]
    typer.echo("\n  ".join(["Next:", *steps]), err=True)


def _first(readme: Path) -> str:
    """The first command of a README."""
    found = re.search(r"^\$ (.*)$", readme.read_text(encoding="utf-8"), re.MULTILINE) if readme.is_file() else None
    return found[1] if found else "chainops trace show last"


def recipes() -> dict[str, Path]:
    """The shipped recipes that are applications, by name; the starter first."""
    from chainops.store.shipped import shipped

    found = {path.parent.name: path.parent for path in sorted(shipped("recipes").glob("*/app.py"))}
    return {name: found[name] for name in sorted(found, key=lambda name: (name != STARTER, name))}


def _chosen(recipe: str, known: dict[str, Path]) -> Path:
    if recipe in known:
        return known[recipe]
    close = difflib.get_close_matches(recipe, known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known)}."
    raise SetupError(f"There is no recipe {recipe!r}", hint=hint, code="setup.recipe")


def _copy(source: Path, folder: Path) -> list[str]:
    wanted = [p.relative_to(source).as_posix() for p in sorted(source.rglob("*")) if p.is_file()]
    files = [name for name in wanted if not _left_out(name)]
    if there := [name for name in files if (folder / name).exists()]:
        raise SetupError(
            f"{folder} has {', '.join(there)} already",
            hint="Give a new folder: nothing is replaced.",
            code="setup.directory",
        )
    try:
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, folder / name)
    except OSError as error:
        raise SetupError(
            f"Cannot write {folder}: {error.strerror}",
            hint="Give a folder that can be written to.",
            code="setup.directory",
        ) from None
    return files


def _left_out(name: str) -> bool:
    parts = name.split("/")
    return any(LEFT_OUT("", [part]) for part in parts)


def _missing(file: Path) -> list[str]:
    """What must be installed before ``file`` can run here."""
    from importlib.util import find_spec

    text = file.read_text("utf-8")
    needs = [(extra, modules) for mark, extra, modules in EXTRAS if mark in text]
    return [f"pip install 'chainops[{extra}]'" for extra, modules in needs if not any(map(find_spec, modules))]


def _title(path: Path) -> str:
    readme = path / "README.md"
    return readme.read_text("utf-8").partition("\n")[0].lstrip("# ") if readme.is_file() else ""
