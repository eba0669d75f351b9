"""An allow-list of plugins by the hash of their packages, for sites where nothing else may run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chainops.errors import SetupError

__all__ = ["check_allowed", "package_hash"]

_VOLATILE = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"})
"""What an installer writes about itself: it differs between installations of one package."""


def package_hash(point: Any) -> str:
    """``sha256:...`` over every file of the package behind an entry point, by path; nothing of it is imported.

    Covers the files that the installer recorded and the folder of the module, so also an editable installation.
    Compiled ``.pyc`` files are left out, and so are the packages that it needs: pin those with your installer.

    Raises:
        SetupError: the module cannot be found (``setup.plugin_load``).
    """
    total = hashlib.sha256()
    for name, file in sorted({**dict(_recorded(point)), **dict(_module(point))}.items()):
        total.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return f"sha256:{total.hexdigest()}"


def check_allowed(point: Any, allowed: Mapping[str, str]) -> None:
    """Raise ``SetupError`` (``setup.plugin_refused``) unless the package behind ``point`` has the hash of the list."""
    if point.name not in allowed:
        raise SetupError(
            f"Plugin {point.name!r} is not on the allow-list ({', '.join(sorted(allowed)) or 'which is empty'})",
            hint=f"Read its code, then put its line from `chainops plugin info {point.name}` into [trust.plugins].",
            code="setup.plugin_refused",
        )
    found = package_hash(point)
    if found != allowed[point.name]:
        raise SetupError(
            f"The package of plugin {point.name!r} is {found}, the allow-list says {allowed[point.name]}",
            hint="Install the version that was allowed, or read this one and put its hash into [trust.plugins].",
            code="setup.plugin_refused",
        )


def _counts(path: Path) -> bool:
    return path.suffix not in (".pyc", ".pyo") and path.name not in _VOLATILE and "__pycache__" not in path.parts


def _recorded(point: Any) -> Iterator[tuple[str, Path]]:
    dist = getattr(point, "dist", None)
    if dist is None:
        return
    for entry in dist.files or ():
        file = Path(str(dist.locate_file(entry)))
        # outside the site folder stand scripts, whose first line is the path of the interpreter
        if _counts(Path(entry)) and ".." not in Path(entry).parts and file.is_file():
            yield Path(entry).as_posix(), file


def _module(point: Any) -> Iterator[tuple[str, Path]]:
    import importlib.util

    top = point.value.partition(":")[0].partition(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None or (spec.origin is None and not spec.submodule_search_locations):
        raise SetupError(
            f"Plugin {point.name!r} has its entry point in {top!r}, which cannot be found",
            hint="Install the package again.",
            code="setup.plugin_load",
        )
    if not spec.submodule_search_locations:
        yield Path(str(spec.origin)).name, Path(str(spec.origin))
        return
    for folder in map(Path, spec.submodule_search_locations):
        for file in folder.rglob("*"):
            if file.is_file() and _counts(file.relative_to(folder)):
                yield f"{top}/{file.relative_to(folder).as_posix()}", file
