"""How much memory a model will take, and how much there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["KV_BYTES", "available_memory", "kv_bytes_per_token"]

KV_BYTES = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
"""Bytes per number of the key-value cache, by the name of its type."""

UNLIMITED = 1 << 60


def _per_layer(value: Any, layers: int, default: int) -> list[int]:
    if isinstance(value, (tuple, list)):
        return [int(item) for item in value[:layers]]
    return [int(default if value is None else value)] * layers


def kv_bytes_per_token(metadata: Mapping[str, Any], *, value_bytes: float = 2) -> int:
    """Bytes of key-value cache that one token takes: ``layers * kv_heads * (key + value length) * bytes``.

    Per-layer head counts are summed. Upper bound for models with windowed attention.
    """
    arch = metadata["general.architecture"]
    layers = int(metadata[f"{arch}.block_count"])
    heads = _per_layer(metadata.get(f"{arch}.attention.head_count"), layers, 1)
    kv_heads = _per_layer(metadata.get(f"{arch}.attention.head_count_kv", heads), layers, 1)
    head = int(metadata[f"{arch}.embedding_length"]) // max(heads[0] if heads else 1, 1)
    key = int(metadata.get(f"{arch}.attention.key_length", head))
    value = int(metadata.get(f"{arch}.attention.value_length", head))
    return int(sum(kv_heads) * (key + value) * value_bytes)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None  # absent, or "max"


def _meminfo(text: str) -> int:
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return UNLIMITED


def _cgroup_room(root: Path, own: Path) -> int:
    """Bytes that the control groups above this process still allow; page cache that can be dropped counts as free."""
    return min((_room_of(*group) for group in _groups(root, own)), default=UNLIMITED)


def _groups(root: Path, own: Path) -> Iterator[tuple[Path, str, str, str]]:
    """Each group that this process is in, up to the first, with the names of its limit, its use and its cache.

    In a container that sees its own group as the first one, that is all that is left of the path.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    paths = {kind: path.strip("/") for _, kind, path in (line.split(":", 2) for line in lines if line.count(":") >= 2)}
    new = ("memory.max", "memory.current", "inactive_file")
    old = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    for base, path, names in ((root, paths.get("", ""), new), (root / "memory", paths.get("memory", ""), old)):
        place = base / path
        while place != base:
            yield place, *names
            place = place.parent
        yield base, *names


def _room_of(group: Path, limit_name: str, used_name: str, cache_key: str) -> int:
    limit, used = _number(group / limit_name), _number(group / used_name)
    if limit is None or used is None or limit >= UNLIMITED:
        return UNLIMITED
    try:
        lines = (group / "memory.stat").read_text().splitlines()
    except OSError:
        lines = []
    cache = sum(int(line.split()[1]) for line in lines if line.startswith(cache_key + " "))
    return max(limit - used + cache, 0)


def available_memory(
    proc: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> int | None:
    """Bytes that this process can still take (machine and control group), or None where neither can be read."""
    try:
        machine = _meminfo(proc.read_text())
    except OSError:
        machine = UNLIMITED
    room = min(machine, _cgroup_room(cgroup, own))
    return None if room >= UNLIMITED else room
