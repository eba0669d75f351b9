"""What is installed and loaded: import times, memory, size on disk. For itself: there is no peer of the same shape.

``python tests/bench/bench_footprint.py [--json]``. Each figure is the median of seven fresh processes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import resource, time
began = time.process_time()
{work}
print(time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
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


def measured(work: str) -> tuple[float, float]:
    """CPU milliseconds and MiB at the peak."""
    found = []
    for _ in range(7):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(work=work)], capture_output=True, text=True, check=True, cwd=ROOT
        )
        found.append([float(value) for value in done.stdout.split()])
    cpu, memory = (statistics.median(values) for values in zip(*found, strict=True))
    return cpu * 1000, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    report = {name: dict(zip(("cpu_ms", "mib"), measured(work), strict=True)) for name, work in WORK.items()}
    files = [path for path in (ROOT / "chainops").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    size = sum(path.stat().st_size for path in files) / 2**20
    if options.json:
        print(json.dumps({**report, "package on disk, MiB": size}))
        return
    for name, row in report.items():
        print(f"{name:46} {row['cpu_ms']:8.1f} ms CPU {row['mib']:8.1f} MiB")
    print(f"{'the package on disk, without its dependencies':46} {size:8.1f} MiB")


if __name__ == "__main__":
    main()
