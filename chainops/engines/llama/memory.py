"""How much memory a model will take, and how much there is."""

from __future__ import annotations

from collections.abc import Mapping
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


def _cgroup_room(root: Path) -> int:
    """Bytes that the control group still allows; page cache that can be dropped counts as free."""
    for limit_name, used_name, cache_key in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, used = _number(root / limit_name), _number(root / used_name)
        if limit is None or used is None or limit >= UNLIMITED:
            continue
        try:
            lines = (root / limit_name).with_name("memory.stat").read_text().splitlines()
        except OSError:
            lines = []
        cache = sum(int(line.split()[1]) for line in lines if line.startswith(cache_key + " "))
        return max(limit - used + cache, 0)
    return UNLIMITED


def available_memory(proc: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that this process can still take (machine and control group), or None where neither can be read."""
    try:
        machine = _meminfo(proc.read_text())
    except OSError:
        machine = UNLIMITED
    room = min(machine, _cgroup_room(cgroup))
    return None if room >= UNLIMITED else room
