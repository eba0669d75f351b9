"""The header of a GGUF file, read without trusting one number in it.

llama.cpp aborts the process on some broken files, so every count, length and offset is bounded by the size of the
file before it is used. Layout of versions 2 and 3 (little-endian)::

    "GGUF"  u32 version  u64 tensors  u64 keys   key-value pairs   tensor table   padding   tensor data
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["BadFileError", "Header", "Tensor", "peek_metadata", "read_header"]

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_KEYS = 65_536
MAX_TENSORS = 65_536
MAX_KEY_BYTES = 65_535
MAX_HEADER_BYTES = 1 << 28
MAX_DIMENSIONS = 4
READ_BYTES = 1 << 16

STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

TENSOR_TYPES: dict[int, tuple[int, int]] = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 36),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18), 42: (64, 18),
}  # fmt: skip
"""ggml type id -> (values per block, bytes per block); as ``ggml_blck_size`` and ``ggml_type_size`` say."""


class BadFileError(ValueError):
    """The file is no GGUF file that can be loaded; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One row of the tensor table. ``offset`` counts from the start of the tensor data, in bytes."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Header:
    """Everything before the tensor data. Values of ``metadata`` are as stored; arrays are tuples."""

    version: int
    metadata: dict[str, Any]
    tensors: tuple[Tensor, ...]
    data_start: int
    file_size: int


class _Cursor:
    """Reads forward through the file, never past its end and never more than ``MAX_HEADER_BYTES``."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.size = file, size
        self.buffer, self.start, self.offset = b"", 0, 0

    def take(self, count: int, what: str) -> bytes:
        left = min(self.size, MAX_HEADER_BYTES) - self.offset
        if count > left:
            raise BadFileError(f"{what} at byte {self.offset} needs {count} bytes, but only {left} are left")
        begin = self.offset - self.start
        if begin + count > len(self.buffer):
            rest = self.buffer[begin:]
            self.buffer = rest + self.file.read(max(count - len(rest), READ_BYTES))
            self.start, begin = self.offset, 0
            if len(self.buffer) < count:
                raise BadFileError(f"{what} at byte {self.offset}: the file ends too early")
        self.offset += count
        return self.buffer[begin : begin + count]

    def number(self, code: str, what: str) -> Any:
        raw = self.take(struct.calcsize("<" + code), what)
        return struct.unpack("<" + code, raw)[0]

    def string(self, what: str) -> bytes:
        return self.take(self.number("Q", what), what)


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise BadFileError(f"{what} is not UTF-8") from error


def _value(cursor: _Cursor, kind: int, key: str) -> Any:
    if kind in SCALARS:
        return cursor.number(SCALARS[kind], key)
    if kind == STRING:
        return cursor.string(key).decode(errors="replace")
    if kind != ARRAY:
        raise BadFileError(f"{key} has the unknown type {kind}")
    item, count = cursor.number("I", key), cursor.number("Q", key)
    if item == STRING:
        smallest = 8
    elif item in SCALARS:
        smallest = struct.calcsize("<" + SCALARS[item])
    else:
        raise BadFileError(f"{key} is an array of the unknown type {item}")
    if count * smallest > cursor.size - cursor.offset:
        raise BadFileError(f"{key} claims {count} elements, more than the file can hold")
    if item == STRING:
        return tuple(cursor.string(key) for _ in range(count))
    return struct.unpack(f"<{count}{SCALARS[item]}", cursor.take(count * smallest, key))


def _counts(cursor: _Cursor) -> tuple[int, int, int]:
    """Version, number of tensors and number of keys."""
    if cursor.take(min(4, cursor.size), "magic") != MAGIC:
        raise BadFileError("it does not start with 'GGUF'")
    version = cursor.number("I", "version")
    if version not in VERSIONS:
        swapped = struct.unpack(">I", struct.pack("<I", version))[0]
        reason = "it is a big-endian file" if swapped in VERSIONS else f"version {version} is not one of {VERSIONS}"
        raise BadFileError(reason)
    tensors, keys = cursor.number("Q", "number of tensors"), cursor.number("Q", "number of keys")
    if tensors > MAX_TENSORS:
        raise BadFileError(f"it claims {tensors} tensors (limit {MAX_TENSORS})")
    if keys > MAX_KEYS:
        raise BadFileError(f"it claims {keys} metadata keys (limit {MAX_KEYS})")
    return version, tensors, keys


def _pairs(cursor: _Cursor, keys: int) -> Iterator[tuple[str, Any]]:
    for _ in range(keys):
        length = cursor.number("Q", "a key")
        if not 0 < length <= MAX_KEY_BYTES:
            raise BadFileError(f"a metadata key has {length} bytes")
        key = _text(cursor.take(length, "a key"), "a metadata key")
        yield key, _value(cursor, cursor.number("I", key), key)


def _tensor(cursor: _Cursor) -> Tensor:
    name = _text(cursor.string("a tensor name"), "a tensor name")
    rank = cursor.number("I", name)
    if not 1 <= rank <= MAX_DIMENSIONS:
        raise BadFileError(f"tensor {name!r} has {rank} dimensions")
    shape = tuple(cursor.number("Q", name) for _ in range(rank))
    kind, offset = cursor.number("I", name), cursor.number("Q", name)
    if kind not in TENSOR_TYPES:
        raise BadFileError(f"tensor {name!r} has the unknown type {kind}")
    block, block_bytes = TENSOR_TYPES[kind]
    if min(shape) < 1 or shape[0] % block:
        raise BadFileError(f"tensor {name!r} has the impossible shape {shape} for type {kind}")
    values = 1
    for side in shape:
        values *= side
    return Tensor(name, shape, kind, offset, values // block * block_bytes)


def _check_places(tensors: tuple[Tensor, ...], alignment: int, start: int, file_size: int) -> None:
    names = set()
    for tensor in tensors:
        if tensor.name in names:
            raise BadFileError(f"tensor {tensor.name!r} occurs twice")
        names.add(tensor.name)
        if tensor.offset % alignment:
            raise BadFileError(f"tensor {tensor.name!r} starts at {tensor.offset}, no multiple of {alignment}")
        end = start + tensor.offset + tensor.size
        if end > file_size:
            raise BadFileError(f"tensor {tensor.name!r} ends at byte {end}, but the file has {file_size} (truncated?)")


def read_header(path: Path) -> Header:
    """The whole header of the file at ``path``, checked against the size of the file.

    Raises:
        BadFileError: anything in it is impossible.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        cursor = _Cursor(file, size)
        version, tensor_count, key_count = _counts(cursor)
        metadata: dict[str, Any] = {}
        for key, value in _pairs(cursor, key_count):
            if key in metadata:
                raise BadFileError(f"metadata key {key!r} occurs twice")
            metadata[key] = value
        tensors = tuple(_tensor(cursor) for _ in range(tensor_count))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 16 or alignment & (alignment - 1):
        raise BadFileError(f"general.alignment is {alignment!r}, no power of two up to 65536")
    start = -(-cursor.offset // alignment) * alignment
    _check_places(tensors, alignment, start, size)
    return Header(version, metadata, tensors, start, size)


def peek_metadata(path: Path, *, keys: int = 64) -> dict[str, Any]:
    """The first ``keys`` metadata values, or as many as can be read; for descriptions, not for checks."""
    found: dict[str, Any] = {}
    try:
        with path.open("rb") as file:
            cursor = _Cursor(file, path.stat().st_size)
            count = _counts(cursor)[2]
            for key, value in islice(_pairs(cursor, count), keys):
                if key.startswith("tokenizer."):
                    break
                found[key] = value
    except (BadFileError, OSError):
        return found
    return found
