"""The one file: launcher, payload, tail. Equal trees give equal bytes."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
from pathlib import Path

import zstandard

LEVEL = 12  # 19 saves 12 % of the size for 30 times the time


def pack(tree: Path, to: Path, mtime: int) -> int:
    """The tree as tar in zstd: sorted, nobody's, all of one time. Returns the bytes that it takes unpacked."""
    unpacked = 0
    compressor = zstandard.ZstdCompressor(level=LEVEL, threads=2, write_checksum=True)
    with to.open("wb") as file, compressor.stream_writer(file) as stream:  # noqa: SIM117 - a line too long
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as tar:
            for path in sorted(tree.rglob("*"), key=lambda path: path.relative_to(tree).as_posix()):
                entry = tarfile.TarInfo(path.relative_to(tree).as_posix())
                entry.mtime = mtime
                if path.is_symlink():
                    entry.type, entry.linkname = tarfile.SYMTYPE, str(path.readlink())
                    tar.addfile(entry)
                elif path.is_dir():
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(entry)
                else:
                    data = path.read_bytes()
                    entry.size = len(data)
                    entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
                    tar.addfile(entry, io.BytesIO(data))
                unpacked += -(-entry.size // 4096) * 4096 + 512
    return unpacked


def seal(launcher: Path, payload: Path, unpacked: int, to: Path) -> None:
    """Join the parts; the tail says where the payload is, how large it gets, and its SHA-256."""
    program, data = launcher.read_bytes(), payload.read_bytes()
    digest = hashlib.sha256(data).hexdigest().encode()
    tail = struct.pack("<QQQ64s8s", len(program), len(data), unpacked, digest, b"CHAINOPS")
    to.write_bytes(program + data + tail)
    to.chmod(0o755)
