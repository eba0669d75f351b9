"""What is installed and loaded: import times, memory, the demo's memory, size on disk. For itself: there is no peer of
the same shape; what LangGraph takes alone stands beside it.

``python tests/bench/bench_footprint.py [--rounds 7] [--few] [--json]``. Each figure is of so many fresh processes,
in turn; peak memory is that of the process (``getrusage``), in MiB. The demo answers on the shipped model, in a
folder of its own.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from repeated import medians

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import resource, time
wall, cpu = time.perf_counter(), time.process_time()
{work}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print((time.process_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000, peak)
"""
DEMO = """
import json, resource, subprocess, sys, time
wall = time.perf_counter()
subprocess.run([sys.executable, "-m", "chainops", "demo", "--yes", "--json"], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print((used.ru_utime + used.ru_stime) * 1000, (time.perf_counter() - wall) * 1000, used.ru_maxrss / 1024)
"""
WORK = {
    "python, nothing imported": "",
    "import chainops": "import chainops",
    "import langgraph.graph": "import langgraph.graph",
    "chainops.instrument, first use": "import chainops; chainops.instrument",
    "App with trace, cache, limits, route, retry": (
        "import chainops; chainops.App(pipeline={'middleware': ['limits', 'cache', 'route', 'retry']},"
        " cache={'on_disk': False})"
    ),
}


def once(program: str) -> list[float]:
    """CPU ms, wall ms, MiB at the peak."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder, env=environment)
    return [float(value) for value in done.stdout.split()]


def on_disk_mib() -> dict[str, float]:
    """The package, and with everything that it needs without an extra."""
    own = sum(f.stat().st_size for f in (ROOT / "chainops").rglob("*") if f.is_file() and "__pycache__" not in f.parts)
    needed = {"chainops"}
    todo = ["chainops"]
    while todo:
        for line in _requires(todo.pop()):
            name = re.split(r"[^\w.-]", line)[0].lower().replace("_", "-")
            if "extra ==" not in line and name not in needed and _files(name):
                needed.add(name)
                todo.append(name)
    whole = own + sum(size for name in needed - {"chainops"} for size in _files(name))
    return {"package on disk, MiB": own / 2**20, "with all it needs, MiB": whole / 2**20}


def _requires(name: str) -> list[str]:
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        import tomllib

        return list(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])


def _files(name: str) -> list[int]:
    """Sizes of a package's files; compiled Python left out."""
    try:
        files = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    place = Path(sysconfig.get_path("purelib"))
    return [(place / f).stat().st_size for f in files if f.suffix != ".pyc" and (place / f).is_file()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--few", action="store_true", help="the demo and Python's import only")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    programs = {name: PROGRAM.format(work=work) for name, work in WORK.items()} | {"chainops demo --yes": DEMO}
    if options.few:
        programs = {name: programs[name] for name in ("import chainops", "chainops demo --yes")}
    found: dict[str, list[list[float]]] = {name: [] for name in programs}
    for number in range(options.rounds + 1):
        for name, program in programs.items():
            row = once(program)
            if number:  # the first round compiles what is imported
                found[name].append(row)
    report = {
        name: dict(zip(("cpu_ms", "wall_ms", "mib"), map(list, zip(*rows, strict=True)), strict=True))
        for name, rows in found.items()
    }
    disk = on_disk_mib()
    if options.json:
        print(json.dumps({**report, **disk}))
        return
    for name, row in medians(report).items():
        print(f"{name:46} {row['cpu_ms']:8.1f} ms CPU {row['wall_ms']:8.1f} ms {row['mib']:8.1f} MiB")
    for name, value in disk.items():
        print(f"{name:46} {value:8.1f}")


if __name__ == "__main__":
    main()
