"""One signed file with what a site without a network gets: prompts, models, adapters, rails, settings, any files.

A tar: ``bundle.json`` (what is in it, each file with its SHA-256), ``bundle.sig`` (Ed25519 over ``bundle.json``), then
the files below ``files/``. Whoever reads it checks the signature first, with keys that the site trusts, then each hash.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import tarfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from chainops import __version__
from chainops.errors import SetupError
from chainops.ops.signing import key_id, private_key, public_key, signer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

__all__ = ["FOLDERS", "Bundle", "BundleFile", "create", "open_bundle"]

MANIFEST, SIGNATURE, FILES = "bundle.json", "bundle.sig", "files/"
FORMAT = 1
FOLDERS = ("prompts", "models", "adapters", "rails", "settings", "files")
"""What a bundle is made of: the folders that the folder of a new bundle may have."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One file. ``path``: below the folder of the bundle."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a bundle says of itself, once its signature is checked.

    Args:
        label: the label of prompts that shall point to its versions.
        id: the SHA-256 of its ``bundle.json``: equal ids, equal contents.
        key: SHA-256 of the public key that signed it, 16 digits.
    """

    name: str
    version: str
    label: str
    message: str
    made_by: str
    created_ns: int
    files: tuple[BundleFile, ...]
    id: str
    key: str

    @property
    def folder(self) -> str:
        """The name of the folder that it is unpacked to."""
        return f"{self.name}-{self.version}-{self.id[:12]}"


def create(
    folder: Path, target: Path, private: Path, *, name: str, version: str, label: str = "prod", message: str = ""
) -> Bundle:
    """Write and sign a bundle of what lies in ``folder``; see :data:`FOLDERS`.

    Raises:
        SetupError: the folder holds something else or nothing, a name is wrong, prompts have mistakes, the key cannot
            be read, or the target cannot be written.
    """
    for what in (name, version):
        if not _NAME.fullmatch(what):
            raise _wrong(f"{what!r} is no name of a bundle", "Use letters, digits and . _ -")
    key = private_key(private)
    found = _files(folder)
    if (folder / "prompts").is_dir():
        from chainops.middleware.prompts.folder import read_folder

        read_folder(folder / "prompts")
    files = [BundleFile(path, _sha256(folder / path), (folder / path).stat().st_size) for path in found]
    about: dict[str, Any] = {"format": FORMAT, "name": name, "version": version, "label": label, "message": message}
    about |= {"made_by": __version__, "created_ns": time.time_ns(), "files": [asdict(each) for each in files]}
    manifest = json.dumps(about, indent=1, sort_keys=True).encode()
    part = target.with_name(f"{target.name}.part")
    try:
        with tarfile.open(part, "w", format=tarfile.GNU_FORMAT) as tar:
            _add(tar, MANIFEST, manifest)
            _add(tar, SIGNATURE, base64.b64encode(key.sign(manifest)))
            for path in found:
                entry = tarfile.TarInfo(FILES + path)
                entry.size = (folder / path).stat().st_size
                with (folder / path).open("rb") as data:
                    tar.addfile(entry, data)
        part.replace(target)
    except OSError as error:
        hint = "Give a path in a folder with room that you can write in."
        raise SetupError(f"Cannot write {target}: {error.strerror}", hint=hint, code="setup.output") from None
    finally:
        part.unlink(missing_ok=True)
    return _bundle(about, manifest, key.public_key())


def open_bundle(file: Path, trusted: list[Path], unpack_to: Path | None = None) -> Bundle:
    """Check signature and hashes; with ``unpack_to``, write the files there, each checked as it is written.

    Raises:
        SetupError: it cannot be read or is damaged (``setup.bundle``), no trusted key signed it
            (``setup.bundle_signature``), or the disk is full (``setup.output``).
    """
    keys = [public_key(path) for path in trusted]
    try:
        with tarfile.open(file, "r:") as tar:
            manifest, signature = _take(tar, MANIFEST), _take(tar, SIGNATURE)
            key = signer(manifest, signature, keys, file)
            about = json.loads(manifest)
            if about["format"] != FORMAT:
                raise _wrong(f"{file} has format {about['format']}, this chainops knows {FORMAT}", "Update chainops.")
            bundle = _bundle(about, manifest, key)
            _check_files(tar, bundle, file, unpack_to)
    except tarfile.TarError as error:
        raise _wrong(f"{file} is no bundle: {error}", "Copy it again.") from None
    except OSError as error:
        if unpack_to is not None and error.filename != str(file):
            hint = "Free some room."
            raise SetupError(
                f"Cannot unpack to {unpack_to}: {error.strerror}", hint=hint, code="setup.output"
            ) from None
        raise _wrong(f"Cannot read {file}: {error.strerror}", "Check the path.") from None
    return bundle


def _files(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise _wrong(f"There is no folder {folder}", "Check the path.")
    found = []
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise _wrong(f"{place} is no plain file", "Put the file itself there.")
        if place.partition("/")[0] not in FOLDERS or (path.is_file() and "/" not in place):
            raise _wrong(f"{place} does not belong into a bundle", f"Folders: {', '.join(FOLDERS)}.")
        if path.is_file():
            found.append(place)
    if not found:
        raise _wrong(f"{folder} is empty", f"Folders: {', '.join(FOLDERS)}.")
    return found


def _bundle(about: dict[str, Any], manifest: bytes, key: Ed25519PublicKey) -> Bundle:
    files = tuple(BundleFile(**each) for each in about["files"])
    values = {name: about[name] for name in ("name", "version", "label", "message", "made_by", "created_ns")}
    return Bundle(**values, files=files, id=hashlib.sha256(manifest).hexdigest(), key=key_id(key))


def _take(tar: tarfile.TarFile, name: str) -> bytes:
    entry = tar.next()
    data = tar.extractfile(entry) if entry is not None and entry.isfile() and entry.name == name else None
    if data is None or entry is None or entry.size > 1 << 26:
        raise tarfile.TarError(f"{name} is not where it belongs")
    return data.read()


def _check_files(tar: tarfile.TarFile, bundle: Bundle, file: Path, unpack_to: Path | None) -> None:
    wanted = {FILES + each.path: each for each in bundle.files}
    while (entry := tar.next()) is not None:
        expected = wanted.pop(entry.name, None)
        source = tar.extractfile(entry) if entry.isfile() else None
        outside = expected is not None and (expected.path.startswith("/") or ".." in PurePosixPath(expected.path).parts)
        if expected is None or source is None or outside:
            raise _wrong(f"{file} holds {entry.name!r}, which is not in its list", "Get it again from who made it.")
        target = None if unpack_to is None else unpack_to / expected.path
        if _copied(source, target) != expected.sha256:
            raise _wrong(f"{file}: {expected.path} is not what was signed", "Get it again from who made it.")
    if wanted:
        raise _wrong(f"{file} lacks {', '.join(each.path for each in wanted.values())}", "Copy it again.")


def _copied(source: Any, target: Path | None) -> str:
    """Read it to its end, into ``target`` where there is one; its hash."""
    digest = hashlib.sha256()
    if target is None:
        while block := source.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as out:
        while block := source.read(1 << 20):
            digest.update(block)
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wrong(problem: str, hint: str) -> SetupError:
    return SetupError(problem, hint=hint, code="setup.bundle")
