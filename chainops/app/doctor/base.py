"""Python, SQLite, packages, disk."""

from __future__ import annotations

import platform
import shutil
import sqlite3
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import closing
from importlib import metadata
from pathlib import Path

from chainops.app.doctor.finding import Finding

__all__ = ["disk", "packages", "python", "sqlite"]

MIN_PYTHON = (3, 11)
MIN_SQLITE = (3, 35, 0)  # RETURNING
LITTLE_ROOM = 200 * 1024**2


def python() -> Iterator[Finding]:
    """The interpreter, and whether it is in an environment of its own."""
    detail = f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.machine()}"
    good = sys.version_info >= MIN_PYTHON
    yield Finding(
        "python", "version", "ok" if good else "broken", detail, "" if good else "Install Python 3.11 or newer."
    )
    if sys.prefix == sys.base_prefix:
        fix = "python3 -m venv .venv, and install chainops there."
        yield Finding("python", "environment", "warning", f"{sys.prefix} is no virtual environment", fix)
    else:
        yield Finding("python", "environment", "ok", sys.prefix)
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        fix = "Use a Python with the GIL: packages that chainops needs are not tested without."
        yield Finding("python", "gil", "warning", "a free-threaded build", fix)


def sqlite() -> Iterator[Finding]:
    """The SQLite library of this Python: its version, and each feature that chainops uses, tried out."""
    good = sqlite3.sqlite_version_info >= MIN_SQLITE
    fix = "" if good else "Use a Python that was built with SQLite 3.35 or newer."
    yield Finding("sqlite", "version", "ok" if good else "broken", sqlite3.sqlite_version, fix)
    features = {
        "full text (FTS5)": ("CREATE VIRTUAL TABLE f USING fts5(x)",),
        "RETURNING": ("CREATE TABLE r (x)", "INSERT INTO r VALUES (1) RETURNING x"),
        "JSON": ("SELECT json_extract('{\"a\": 1}', '$.a')",),
    }
    for name, statements in features.items():
        with closing(sqlite3.connect(":memory:")) as db:
            try:
                for statement in statements:
                    db.execute(statement).fetchall()
            except sqlite3.Error as error:
                yield Finding("sqlite", name, "broken", str(error), "Use a Python whose SQLite has it.")
            else:
                yield Finding("sqlite", name, "ok", "works")


def disk(folder: Path) -> Iterator[Finding]:
    """Whether the working directory can hold a trace file: written to, in WAL mode, with room."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".chainops-doctor-", dir=folder) as made,
            closing(sqlite3.connect(Path(made) / "probe.db", isolation_level=None)) as db,
        ):
            mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            db.execute("CREATE TABLE t (x)")
    except (OSError, sqlite3.Error) as error:
        fix = "Change to a folder that you can write in, or set CHAINOPS_TRACE__PATH."
        yield Finding("disk", "writing", "broken", f"{folder}: {error}", fix)
        if not folder.is_dir():
            return
    else:
        good = mode == "wal"
        fix = "" if good else "Put the trace file on a local disk: network file systems cannot share memory."
        yield Finding("disk", "writing", "ok" if good else "broken", f"{folder}, journal mode {mode}", fix)
    free = shutil.disk_usage(folder).free
    enough = free > LITTLE_ROOM
    fix = "" if enough else "Free some room, or chainops trace prune."
    yield Finding("disk", "room", "ok" if enough else "warning", f"{free / 1024**3:.1f} GiB free", fix)


def packages() -> Iterator[Finding]:
    """The packages that chainops needs, and the extras, by what the installed metadata says."""
    try:
        wanted = metadata.requires("chainops") or []
    except metadata.PackageNotFoundError:
        fix = "pip install chainops, or pip install --editable . in the checkout."
        yield Finding("packages", "chainops", "warning", "runs from a folder and is not installed", fix)
        return
    from packaging.requirements import Requirement

    missing: dict[str, list[str]] = {}
    there: dict[str, list[str]] = {}
    for requirement in map(Requirement, wanted):
        extra = _extra_of(str(requirement.marker or ""))
        if requirement.name.lower() == "chainops" or extra == "all":
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        problem = _problem(requirement)
        (missing if problem else there).setdefault(extra, []).append(problem or requirement.name)
    for extra in sorted({*missing, *there}):
        yield _extra(extra, missing.get(extra, []), there.get(extra, []))


def _extra(extra: str, missing: list[str], there: list[str]) -> Finding:
    name = f"extra {extra}" if extra else "needed"
    if not missing:
        return Finding("packages", name, "ok", ", ".join(there) if extra else f"{len(there)} packages")
    target = f"'chainops[{extra}]'" if extra else "--force-reinstall chainops"
    return Finding(
        "packages", name, "absent" if extra else "broken", f"missing: {', '.join(missing)}", f"pip install {target}"
    )


def _extra_of(marker: str) -> str:
    _, found, rest = marker.partition("extra == ")
    return rest.strip("\"' )") if found else ""


def _problem(requirement: object) -> str:
    from packaging.requirements import Requirement

    assert isinstance(requirement, Requirement)
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return requirement.name
    return "" if requirement.specifier.contains(version, prereleases=True) else f"{requirement} (found {version})"
