"""An empty root without a network, in which only the binary lies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER = 1000


@dataclass(frozen=True)
class Done:
    """A finished command. ``cpu_s``: processor time; ``peak_mb``: the most memory that it had, in MiB."""

    code: int
    out: str
    err: str
    seconds: float
    cpu_s: float
    peak_mb: float

    def objects(self) -> list[Any]:
        """The lines of stdout, each of them JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


class Box:
    """A root folder with ``/chainops``, ``/data``, ``/tmp``, four devices and ``/proc``; an ordinary user in it.

    Each command runs in namespaces of its own for mounts, processes and network; no interface of the network is up.
    """

    def __init__(self, root: Path, binary: Path) -> None:
        self.root = root
        root.chmod(0o755)
        for name in ("data", "tmp", "proc", "dev/shm", "apps"):
            (root / name).mkdir(parents=True)
        os.link(binary, root / "chainops") if _same_disk(binary, root) else shutil.copy(binary, root / "chainops")
        for name, major, minor in (("null", 1, 3), ("zero", 1, 5), ("random", 1, 8), ("urandom", 1, 9)):
            os.mknod(root / "dev" / name, 0o020666, os.makedev(major, minor))
            (root / "dev" / name).chmod(0o666)
        for name in ("data", "tmp", "dev/shm"):
            os.chown(root / name, USER, USER)

    def command(self, *words: str, folder: str = "/data") -> list[str]:
        unshare = ["unshare", "--mount", "--net", "--pid", "--fork", f"--root={self.root}"]
        return [*unshare, f"--wd={folder}", "--mount-proc", f"--setuid={USER}", f"--setgid={USER}", "/chainops", *words]

    def start(self, *words: str, folder: str = "/data", **environment: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            self.command(*words, folder=folder), env=self.environment(environment), text=True,
            stdin=pipe, stdout=pipe, stderr=pipe,
        )  # fmt: skip

    @staticmethod
    def environment(more: dict[str, str]) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "CHAINOPS_RUNTIME_DIR": "/data/runtime", **more}

    def run(self, *words: str, given: str = "", folder: str = "/data", **environment: str) -> Done:
        return finish(self.start(*words, folder=folder, **environment), given)

    def outside(self, script: str, words: list[str], environment: dict[str, str]) -> Done:
        """Run a shell script in namespaces of its own, with ``words`` as its arguments; it enters the root itself."""
        command = ["unshare", "--mount", "--net", "--pid", "--fork", "sh", "-c", script, "sh", *words]
        environment = {"PATH": os.environ["PATH"], **environment}
        pipe = subprocess.PIPE
        return finish(subprocess.Popen(command, env=environment, text=True, stdin=pipe, stdout=pipe, stderr=pipe))


def signal_inside(process: subprocess.Popen[str], which: int) -> None:
    """Send a signal to the program itself: the process that we started is ``unshare``."""
    deadline = time.monotonic() + 10
    while not (children := Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()):
        assert time.monotonic() < deadline
    os.kill(int(children[0]), which)


def finish(process: subprocess.Popen[str], given: str = "") -> Done:
    """Wait for a command, and measure it."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    out, err = process.communicate(given, timeout=300)
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = after.ru_maxrss / 1024 if after.ru_maxrss > before.ru_maxrss else 0
    return Done(process.returncode, out, err, seconds, cpu, peak)


def _same_disk(a: Path, b: Path) -> bool:
    return a.stat().st_dev == b.stat().st_dev
