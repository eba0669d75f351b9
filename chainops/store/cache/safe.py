"""diskcache without pickle: CVE-2025-69872 is that a planted file is executed when it is read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import diskcache

from chainops.errors import StoreError

__all__ = ["SafeDisk", "owned_directory"]

RAW = 1


class SafeDisk(diskcache.Disk):  # type: ignore[misc]
    """Keys are text, values are bytes in the database itself. Everything else is refused, going in and coming out.

    diskcache pickles any other key and value, and unpickles what a row claims to be a pickle. A row may also name a
    file; those are refused too, because nothing here writes any.
    """

    def put(self, key: Any) -> tuple[str, bool]:
        if type(key) is not str:
            raise _unsafe(f"a key of type {type(key).__name__}")
        return key, True

    def get(self, key: Any, raw: Any) -> str:
        if not raw or type(key) is not str:
            raise _unsafe("a pickled key")
        return key

    def store(self, value: Any, read: bool, key: Any = None) -> tuple[int, int, None, bytes]:
        if read or type(value) is not bytes:
            raise _unsafe(f"a value of type {type(value).__name__}")
        return 0, RAW, None, value  # the size of files beside the database

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> bytes:
        if mode != RAW or filename is not None or type(value) is not bytes or read:
            raise _unsafe(f"a value of mode {mode}")
        return value

    def remove(self, file_path: Any) -> None:
        raise _unsafe("the name of a file")


def _unsafe(what: str) -> StoreError:
    return StoreError(
        f"The cache holds, or was given, {what}; only JSON texts are kept in it",
        hint="Somebody else wrote into the directory: look who may, then run `chainops cache clear`.",
        code="cache.unsafe",
    )


def owned_directory(path: Path) -> Path:
    """``path`` as a directory that nobody else can read or write (0700), made where it is missing.

    Raises:
        StoreError: code ``cache.directory``: it is no directory, somebody else's, or others may write into it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except OSError as error:
        raise _no_directory(path, error.strerror or str(error)) from None
    if not stat.S_ISDIR(found.st_mode):
        raise _no_directory(path, "it is no directory")
    if not hasattr(os, "getuid"):
        return path
    if found.st_uid != os.getuid():
        raise _no_directory(path, f"it belongs to the user with number {found.st_uid}")
    if found.st_mode & 0o022:
        raise _no_directory(path, f"others may write into it (mode {stat.S_IMODE(found.st_mode):04o})")
    if found.st_mode & 0o077:
        path.chmod(0o700)
    return path


def _no_directory(path: Path, why: str) -> StoreError:
    return StoreError(
        f"{path} cannot hold the cache: {why}",
        hint="Give a directory of your own as [cache].directory; it is made if it is missing.",
        code="cache.directory",
    )
