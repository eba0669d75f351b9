"""Limits of this process: processors, memory, priority."""

from __future__ import annotations

import os
import resource
import sys

from chainops.errors import SetupError
from chainops.settings.resources import ResourceSettings

__all__ = ["limit"]

_POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


def limit(settings: ResourceSettings) -> None:
    """Apply the limits to this process and its children. Call it before anything heavy is imported.

    Memory is what the process allocates (``RLIMIT_DATA``): an allocation beyond it fails, as an error of that call. The
    weights of a model, which are mapped from their file, are not counted.

    Raises:
        SetupError: the system does not let it (``setup.resources``).
    """
    if settings.threads is not None:
        for name in _POOLS:
            os.environ.setdefault(name, str(settings.threads))
        if sys.platform == "linux":
            usable = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, usable[: settings.threads])
    try:
        if settings.memory_mb is not None:
            most = settings.memory_mb * 2**20
            hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
            if hard != resource.RLIM_INFINITY:
                most = min(most, hard)
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
        if settings.nice:
            os.setpriority(os.PRIO_PROCESS, 0, max(settings.nice, os.getpriority(os.PRIO_PROCESS, 0)))
    except (OSError, ValueError) as error:
        raise SetupError(
            f"Cannot limit this process: {error}", hint="Check the table [resources].", code="setup.resources"
        ) from error
