"""``chainops service``: what a machine needs to run an application all the time."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Annotated

import typer

from chainops.errors import SetupError

__all__ = ["app", "write_service"]

app = typer.Typer(add_completion=False)
TEMPLATE = Path(__file__).resolve().parent / "templates" / "service"
HARDENING = "hardening.part"


@app.command()
def service(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The new folder for the files.")],
    application: Annotated[Path, typer.Option("--app", help="The application's folder on the machine that runs it.")],
    name: Annotated[str, typer.Option("--name", help="What units, user and data directory are called.")] = "desk",
    program: Annotated[Path | None, typer.Option("--program", help="Where chainops lies there; else as here.")] = None,
    runtime: Annotated[Path, typer.Option("--runtime", help="Where root unpacked the one file, for everybody.")] = Path(
        "/opt/chainops"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write systemd units, a Containerfile and a logrotate file for an application, with the plugins of --plugins."""
    from chainops.cli.trace_io import print_json

    plugins = context.find_root().params.get("plugins")
    files = write_service(folder, name, application, program or _myself(), runtime, plugins)
    if as_json:
        print_json({"folder": str(folder), "files": files})
        return
    for file in files:
        typer.echo(str(folder / file))
    typer.echo('Next: chainops docs howto/offline, from "As a service" on', err=True)


def write_service(
    folder: Path, name: str, application: Path, program: Path, runtime: Path, plugins: Path | None
) -> list[str]:
    """The names of the files that were written.

    Raises:
        SetupError: the name cannot be that of a unit and a user, a path is not absolute or has white space
            (``setup.option``), or the folder exists (``setup.directory``).
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,15}", name):
        hint = "At most 16 small letters, digits and hyphens, a letter first."
        raise SetupError(f"{name!r} is no name for a service", hint=hint, code="setup.option")
    for path in filter(None, (application, program, runtime, plugins)):
        if not path.is_absolute() or re.search(r"[\s%\"'\\$]", str(path)):
            hint = "Give the path where it will lie, from /, without spaces, quotes, % and $."
            raise SetupError(f"{str(path)!r} cannot stand in a unit", hint=hint, code="setup.option")
    words = {
        "{{hardening}}": (TEMPLATE / HARDENING).read_text(encoding="utf-8").rstrip(),
        "{{name}}": name,
        "{{app}}": str(application),
        "{{program}}": str(program),
        "{{runtime}}": str(runtime),
        "{{traces}}": str(_trace_path(application)),
        "{{plugins_option}}": f"--plugins {plugins} " if plugins else "",
    }
    try:
        folder.mkdir(parents=True)
        return [_write(source, folder, words) for source in sorted(TEMPLATE.glob("*.tmpl"))]
    except FileExistsError:
        raise SetupError(
            f"{folder} is there already", hint="Give a new folder: nothing is replaced.", code="setup.directory"
        ) from None
    except OSError as error:
        hint = "Give a folder that you can write in."
        raise SetupError(f"Cannot write {folder}: {error.strerror}", hint=hint, code="setup.directory") from None


def _write(source: Path, folder: Path, words: dict[str, str]) -> str:
    text = source.read_text(encoding="utf-8")
    for mark, word in words.items():
        text = text.replace(mark, word)
    file = folder / source.name.removesuffix(".tmpl").replace("NAME", words["{{name}}"])
    file.write_text(text, encoding="utf-8")
    return file.name


def _trace_path(application: Path) -> Path:
    """As the application's settings have it, if it is on this machine; else the default."""
    from chainops.settings import load_settings

    file = application / "chainops.toml"
    return load_settings(file if file.is_file() else None, environ={}).trace.path


def _myself() -> Path:
    found = os.environ.get("CHAINOPS_EXE") or shutil.which("chainops")
    return Path(found) if found else Path("/usr/local/bin/chainops")
