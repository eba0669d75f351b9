"""What was measured on."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "langgraph",
    "langchain-core",
    "langchain",
    "llama-cpp-python",
    "onnxruntime",
    "nemoguardrails",
    "diskcache",
)


def describe() -> dict[str, str]:
    """Names to values; nothing that tells whose machine it is."""
    found = {
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": _memory(),
        "load before": f"{os.getloadavg()[2]:.1f} (15 minutes)" if hasattr(os, "getloadavg") else "unknown",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
    }
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory() -> str:
    try:
        line = Path("/proc/meminfo").read_text().splitlines()[0]
    except OSError:
        return "unknown"
    return f"{int(line.split()[1]) / 2**20:.0f} GiB"
