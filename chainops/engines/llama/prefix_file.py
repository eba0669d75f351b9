"""Kept prefixes in a file, so that the next process need not compute them: a header, tokens and states, a checksum."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chainops.engines.llama.kept import Kept
from chainops.errors import SetupError

__all__ = ["read_prefixes", "write_prefixes"]

MAGIC = b"chainops-prefixes 1\n"
DIGEST = 32
MAX_HEADER = 1 << 26


def write_prefixes(path: Path, made_by: Mapping[str, Any], prefixes: Iterable[Kept]) -> int:
    """Write ``prefixes`` to ``path`` in one go: readers see the old file or the new one. Returns how many bytes.

    Args:
        made_by: what a state is valid for; :func:`read_prefixes` compares it.
    """
    prefixes = list(prefixes)
    entries = [
        {"adapters": kept.adapters, "tokens": len(kept.tokens), "bytes": len(kept.state), "pinned": kept.pinned}
        for kept in prefixes
    ]
    header = json.dumps({"made_by": dict(made_by), "prefixes": entries}).encode()
    digest, size = hashlib.sha256(), 0
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            for part in (MAGIC, len(header).to_bytes(8, "little"), header, *_parts(prefixes)):
                digest.update(part)
                size += file.write(part)
            size += file.write(digest.digest())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return size


def _parts(prefixes: list[Kept]) -> Iterable[bytes | memoryview]:
    for kept in prefixes:
        yield np.ascontiguousarray(kept.tokens, np.int32).tobytes()
        yield np.ascontiguousarray(kept.state).data


def read_prefixes(path: Path, made_by: Mapping[str, Any]) -> list[Kept]:
    """What :func:`write_prefixes` wrote, if it was ``made_by`` the same.

    Raises:
        SetupError: code ``setup.prefixes``: no such file, damaged, or made by something else.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _refused(path, f"it cannot be read ({error})") from None
    begin = len(MAGIC) + 8
    if not data.startswith(MAGIC) or len(data) < begin + DIGEST:
        raise _refused(path, "it is no file of prefixes")
    if hashlib.sha256(memoryview(data)[:-DIGEST]).digest() != data[-DIGEST:]:
        raise _refused(path, "it is damaged: its checksum is wrong")
    size = int.from_bytes(data[len(MAGIC) : begin], "little")
    if size > MAX_HEADER:
        raise _refused(path, "its header is too large")
    header = json.loads(data[begin : begin + size])
    for name, wanted in made_by.items():
        if header["made_by"].get(name) != wanted:
            raise _refused(path, f"{name} was {header['made_by'].get(name)!r} when it was written, and is {wanted!r}")
    found, place = [], begin + size
    for entry in header["prefixes"]:
        tokens = np.frombuffer(data, np.int32, entry["tokens"], place).copy()
        place += 4 * entry["tokens"]
        state = np.frombuffer(data, np.uint8, entry["bytes"], place).copy()
        place += entry["bytes"]
        adapters = tuple((str(sha256), float(scale)) for sha256, scale in entry["adapters"])
        found.append(Kept(adapters, tokens, state, bool(entry["pinned"])))
    return found


def _refused(path: Path, why: str) -> SetupError:
    return SetupError(
        f"{path} cannot be used: {why}",
        hint="Write it anew with save_prefixes(), from the same model, options and build of llama.cpp.",
        code="setup.prefixes",
    )
