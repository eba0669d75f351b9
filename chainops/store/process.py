"""Which process wrote a span, and whether it still lives."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ProcessIdentity", "is_gone", "this_process"]


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process, told apart from a later one that got the same pid.

    Args:
        pid: its number.
        host: name of the machine or container.
        boot_id: Linux' id of the boot; empty elsewhere.
        start_ticks: clock ticks between boot and the start of the process; 0 where unknown.
    """

    pid: int
    host: str
    boot_id: str
    start_ticks: int


def this_process() -> ProcessIdentity:
    """The running process."""
    return ProcessIdentity(os.getpid(), _host(), _boot_id(), _start_ticks(os.getpid()) or 0)


def is_gone(process: ProcessIdentity) -> bool:
    """True when it certainly no longer runs. Of processes on other machines nothing is known: False."""
    if process.host != _host():
        return False
    if process.boot_id != _boot_id():
        return True
    ticks = _start_ticks(process.pid)
    if ticks is not None:
        return process.start_ticks not in (0, ticks)
    if Path("/proc/self/stat").exists():
        return True
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _start_ticks(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name in parentheses may contain spaces; field 3 is the state: a zombie is gone.
    fields = stat.rpartition(")")[2].split()
    return -1 if fields[0] in "ZX" else int(fields[19])
