"""Runs the scripts and keeps what they found."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peers import PEERS
from plan import Bench, Figure

SCRIPTS = Path(__file__).resolve().parents[1]
ROOT = SCRIPTS.parents[1]


@dataclass(frozen=True)
class Shown:
    """A figure with its spread: quartiles over the runs, or the lowest and highest of fewer than four."""

    figure: Figure
    low: float
    median: float
    high: float
    runs: int

    @property
    def verdict(self) -> str:
        """ "met", "missed", "no difference seen" or ""."""
        aim = self.figure.aim
        if aim is not None:
            ok = self.median <= aim if self.figure.better == "lower" else self.median >= aim
            return "met" if ok else "missed"
        if self.figure.unit == "x" and self.runs > 1 and self.low <= 1.0 <= self.high:
            return "no difference seen"
        return ""


@dataclass
class Result:
    """What one benchmark found; ``why``: why it was not run."""

    bench: Bench
    shown: list[Shown] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    text: str = ""
    series: dict[str, Any] = field(default_factory=dict)
    why: str = ""


def run(
    bench: Bench,
    *,
    quick: bool,
    peers: dict[str, str],
    folder: Path,
    data: Path | None = None,
    server: Path | None = None,
) -> Result:
    """All runs of one benchmark."""
    result = Result(bench)
    script = SCRIPTS / (bench.script or f"bench_{bench.name}.py")
    args = bench.quick if quick else bench.args
    if args is None:
        result.why = "left out of a quick run"
    elif not script.is_file():
        result.why = f"there is no {script.name}"
    elif "--native={llama-server}" in args and server is None:
        result.why = "needs llama-server: LLAMA_SERVER=PROGRAM; tests/bench/llama_server.py builds one"
    if result.why:
        return result
    found: list[dict[str, Any]] = []
    for _ in range(1 if quick else bench.repeat):
        filled = _filled(args or (), peers, folder, data)
        filled = [arg.replace("{llama-server}", str(server)) for arg in filled]
        out, result.why = _once(script, filled, bench)
        if result.why:
            return result
        if not bench.figures and bench.plot != "series":
            result.text = out.strip()
            return result
        found.append(json.loads(out[out.index("{") if not out.lstrip().startswith("[") else 0 :]))
    if bench.plot == "series":
        result.series = found[0]
        return result
    for figure in bench.figures:
        values = [value for one in found if (value := pick(one, figure.path)) is not None]
        if values:
            result.shown.append(spread(figure, values))
        else:
            result.missing.append(figure.label)
    return result


def spread(figure: Figure, values: list[float]) -> Shown:
    """Median and quartiles."""
    low, high = min(values), max(values)
    if len(values) >= 4:
        low, _, high = statistics.quantiles(values, n=4)
    return Shown(figure, low, statistics.median(values), high, len(values))


def pick(found: Any, path: str) -> float | None:
    """The number at a path; None where there is none."""
    for key in path.split(" > "):
        try:
            found = found[int(key)] if isinstance(found, list) else found[key]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return float(found) if isinstance(found, int | float) else None


def _filled(args: tuple[str, ...], peers: dict[str, str], folder: Path, data: Path | None) -> list[str]:
    """Arguments with paths in them; "--option={data}/FILE" is left out where that file is not."""
    filled = []
    for arg in args:
        arg = arg.replace("{peers}", str(folder))
        for name in PEERS:
            arg = arg.replace(f"{{python:{name}}}", peers.get(name, ""))
        if "{data}" in arg:
            arg = arg.replace("{data}", str(data))
            if data is None or not Path(arg.partition("=")[2]).is_file():
                continue
        filled.append(arg)
    return filled


def _once(script: Path, args: list[str], bench: Bench) -> tuple[str, str]:
    """stdout, and why there is none."""
    as_json = ["--json"] if bench.figures or bench.plot == "series" else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
    command = [sys.executable, str(script), *args, *as_json]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=bench.seconds, check=False, env=environment, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        return "", f"took longer than {bench.seconds} s"
    if done.returncode != 0:
        return "", (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    return done.stdout, ""
