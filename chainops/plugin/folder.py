"""Plugins from a folder of wheels: for machines without an installer, where somebody says which files may run.

The folder holds wheels and ``allowed.sha256``, in the form that ``sha256sum`` writes. A wheel that is not in the list
stops the start: a file that somebody dropped there is never run.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib
import io
import os
import shutil
import sys
import zipfile
from pathlib import Path, PurePosixPath

from chainops.errors import SetupError

__all__ = ["ALLOWED", "add_folder"]

ALLOWED = "allowed.sha256"


def add_folder(folder: Path) -> list[Path]:
    """Make the packages of all wheels in a folder importable, behind everything that is installed.

    Each is unpacked once, below ``CHAINOPS_RUNTIME_DIR`` or the user's cache, and compared with its own list of hashes
    at every start. Wheels of what a plugin needs belong into the folder as well.

    Returns:
        Where they are unpacked.

    Raises:
        SetupError: the folder or its list is missing, a wheel is not in the list, was changed, is damaged, or is for
            another Python (all ``setup.plugin_folder``).
    """
    allowed = _allowed(folder)
    wheels = sorted(folder.glob("*.whl"))
    if gone := sorted(set(allowed) - {wheel.name for wheel in wheels}):
        raise _wrong(f"{folder / ALLOWED} names {', '.join(gone)}, which is not there", "Copy it, or take it out.")
    places = []
    for wheel in wheels:
        with wheel.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if wheel.name not in allowed:
            raise _wrong(f"{wheel} is not in {ALLOWED}", f"Remove it, or after a check: {_add_line(folder)}")
        if allowed[wheel.name] != digest:
            raise _wrong(f"{wheel} is not the file that {ALLOWED} names", "Copy it again from where it was checked.")
        _check_tags(wheel)
        places.append(_unpacked(wheel, digest))
    for place in places:
        if str(place) not in sys.path:
            sys.path.append(str(place))
    importlib.invalidate_caches()
    return places


def _allowed(folder: Path) -> dict[str, str]:
    try:
        lines = (folder / ALLOWED).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise _wrong(f"Cannot read {folder / ALLOWED}: {error.strerror}", f"Make it: {_add_line(folder)}") from None
    found = {}
    for line in lines:
        if line.strip() and not line.startswith("#"):
            digest, _, name = line.strip().partition(" ")
            if len(digest) != 64 or not name.strip():
                raise _wrong(f"{folder / ALLOWED}: {line!r} is no hash and name", "Write it with sha256sum.")
            found[name.strip().removeprefix("*")] = digest.lower()
    return found


def _add_line(folder: Path) -> str:
    return f"(cd {folder} && sha256sum *.whl > {ALLOWED})"


def _check_tags(wheel: Path) -> None:
    from packaging.tags import sys_tags
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        tags = parse_wheel_filename(wheel.name)[3]
    except InvalidWheelFilename as error:
        raise _wrong(f"{wheel.name} is no name of a wheel: {error}", "Keep the name that it was built with.") from None
    if tags.isdisjoint(sys_tags()):
        wanted = f"Python {sys.version_info[0]}.{sys.version_info[1]} on this machine"
        raise _wrong(f"{wheel.name} does not run on {wanted}", "Copy the wheel that was built for it.")


def _unpacked(wheel: Path, digest: str) -> Path:
    base = _base()
    place = base / f"{wheel.name.split('-')[0]}-{digest[:32]}"
    try:
        with zipfile.ZipFile(wheel) as archive:
            record = _record(wheel, archive)
            if not place.is_dir():
                _unpack(archive, place)
    except (zipfile.BadZipFile, OSError, KeyError) as error:
        raise _wrong(f"Cannot unpack {wheel} to {base}: {error}", "Check the file and the disk.") from None
    if bad := _changed(place, record):
        raise _wrong(f"{place / bad} is not what {wheel.name} brought", f"Remove {place}, and start again.")
    return place


def _base() -> Path:
    if named := os.environ.get("CHAINOPS_RUNTIME_DIR"):
        return Path(named) / "plugins"
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        hint = "Set CHAINOPS_RUNTIME_DIR to a folder that you can write in."
        raise _wrong("There is no folder to unpack plugins to: this user has no home", hint) from None
    return Path(cache) / "chainops" / "plugins"


def _record(wheel: Path, archive: zipfile.ZipFile) -> dict[str, str]:
    """Names of files to their hash, as the wheel itself lists them; names as they lie when unpacked."""
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD") and name.count("/") == 1] or [
        ""
    ]
    if not name:
        raise _wrong(f"{wheel.name} has no RECORD", "Build the wheel again.")
    rows = csv.reader(io.StringIO(archive.read(name).decode("utf-8")))
    return {_plain(row[0]): row[1] for row in rows if len(row) > 1 and row[1]}


def _plain(name: str) -> str:
    """Where a file of a wheel goes: what lies in its ``.data`` folder belongs beside the rest."""
    parts = PurePosixPath(name).parts
    if len(parts) > 2 and parts[0].endswith(".data") and parts[1] in ("purelib", "platlib"):
        return str(PurePosixPath(*parts[2:]))
    return name


def _unpack(archive: zipfile.ZipFile, place: Path) -> None:
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, mode=0o700)
    try:
        for entry in archive.infolist():
            if not entry.is_dir():
                target = part / _plain(entry.filename)
                if ".." in PurePosixPath(entry.filename).parts or not target.is_relative_to(part):
                    raise OSError(f"{entry.filename} leads outside")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(entry))
        if os.geteuid() == 0:
            _open_for_all(part)
        try:
            part.rename(place)
        except OSError:
            if not place.is_dir():  # another process was faster
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _open_for_all(part: Path) -> None:
    """What root unpacks is for everybody, whatever root's umask is."""
    part.parent.chmod(0o755)
    for path in (part, *part.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _changed(place: Path, record: dict[str, str]) -> str | None:
    """The first file that differs from the list, or that nobody listed; byte code is Python's own."""
    for name, wanted in record.items():
        kind, _, text = wanted.partition("=")
        try:
            found = base64.urlsafe_b64encode(hashlib.new(kind, (place / name).read_bytes()).digest())
        except (OSError, ValueError):
            return name
        if found.rstrip(b"=").decode() != text:
            return name
    listed = record.keys()
    for path in place.rglob("*"):
        name = path.relative_to(place).as_posix()
        own = "__pycache__" in path.parts or name.endswith((".dist-info/RECORD", ".dist-info/RECORD.jws"))
        if path.is_file() and name not in listed and not own:
            return name
    return None


def _wrong(problem: str, hint: str) -> SetupError:
    return SetupError(problem, hint=hint, code="setup.plugin_folder")
