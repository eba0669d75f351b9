"""A new plugin package from the shipped template."""

from __future__ import annotations

import keyword
import re
import shutil
import sys
from pathlib import Path

from chainops.errors import SetupError

__all__ = ["next_steps", "write_package"]

TEMPLATE = Path(__file__).resolve().parent / "templates" / "plugin"


def write_package(name: str, into: Path) -> Path:
    """The folder ``chainops-<name>`` with a package in it.

    Raises:
        SetupError: the name cannot be one (``setup.plugin_name``), or the folder exists (``setup.directory``).
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise SetupError(
            f"{name!r} is no name for a plugin",
            hint="Small letters, digits and underscores, a letter first: chainops plugin new word_count",
            code="setup.plugin_name",
        )
    folder = into / f"chainops-{name.replace('_', '-')}"
    words = {
        "{{name}}": name,
        "{{package}}": f"chainops_{name}",
        "{{dist}}": folder.name,
        "{{class}}": "".join(part.capitalize() for part in name.split("_")),
    }
    try:
        folder.mkdir(parents=True)
        for source in sorted(TEMPLATE.rglob("*")):
            if source.is_file():
                _write(source, folder, words)
    except FileExistsError:
        raise SetupError(
            f"{folder} is there already", hint="Choose another name, or --into another folder.", code="setup.directory"
        ) from None
    except OSError as error:
        raise SetupError(
            f"Cannot write {folder}: {error.strerror}", hint="Choose a folder with --into.", code="setup.directory"
        ) from None
    return folder


def _write(source: Path, folder: Path, words: dict[str, str]) -> None:
    place = source.relative_to(TEMPLATE).as_posix().replace("src/package/", f"src/{words['{{package}}']}/")
    text = source.read_text(encoding="utf-8")
    for mark, word in words.items():
        text = text.replace(mark, word)
    target = folder / place.removesuffix(".tmpl")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


def next_steps(folder: Path) -> str:
    """What to type next; it names this Python where ``python`` would be another."""
    found = shutil.which("python")
    same = found is not None and Path(found).resolve() == Path(sys.executable).resolve()
    same = same and Path(str(found)).parent == Path(sys.executable).parent
    python = "" if same else f" PYTHON={sys.executable}"
    return f"Next:\n  cd {folder} && make test{python}"
