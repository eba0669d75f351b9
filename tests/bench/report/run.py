"""Runs the scripts and keeps what they found."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from causes import CAUSES, UNKNOWN
from peers import PEERS
from plan import Bench, Figure

SCRIPTS = Path(__file__).resolve().parents[1]
ROOT = SCRIPTS.parents[1]


@dataclass(frozen=True)
class Shown:
    """A figure with its spread: quartiles over the repetitions, or the lowest and highest of fewer than four.

    ``other``: the median by the other clock.
    """

    figure: Figure
    low: float
    median: float
    high: float
    runs: int
    other: float | None = None

    @property
    def verdict(self) -> str:
        """ "met", "missed" or ""."""
        aim = self.figure.aim
        if aim is None:
            return ""
        ok = self.median <= aim if self.figure.better == "lower" else self.median >= aim
        return "met" if ok else "missed"

    @property
    def no_difference(self) -> bool:
        """A ratio whose spread is larger than its difference from 1, both as factors."""
        if self.figure.unit != "x" or self.runs < 2 or self.low <= 0:
            return False
        return math.log(self.high / self.low) > abs(math.log(self.median))

    @property
    def why(self) -> str:
        """Of a miss: its cause, if known."""
        return CAUSES.get(self.figure.label, UNKNOWN) if self.verdict == "missed" else ""


@dataclass
class Result:
    """What one benchmark found; ``why``: why it was not run; ``seconds``: how long it took."""

    bench: Bench
    shown: list[Shown] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    series: dict[str, Any] = field(default_factory=dict)
    why: str = ""
    seconds: float = 0.0


def run(
    bench: Bench,
    *,
    quick: bool,
    peers: dict[str, str],
    folder: Path,
    given: Mapping[str, Path | None] = MappingProxyType({}),
) -> Result:
    """One benchmark, in a process of its own. ``given``: what stands for "{NAME}" in its arguments."""
    result = Result(bench)
    script = SCRIPTS / (bench.script or f"bench_{bench.name}.py")
    args = bench.quick if quick else bench.args
    if args is None:
        result.why = "left out of a quick run"
    elif not script.is_file():
        result.why = f"there is no {script.name}"
    if result.why:
        return result
    began = time.monotonic()
    out, result.why = _once(script, _filled(args or (), peers, folder, given), bench)
    if result.why:
        return result
    found = json.loads(out[out.index("{") if not out.lstrip().startswith("[") else 0 :])
    result.seconds = time.monotonic() - began
    if bench.plot == "series":
        result.series = found["series"]
    for figure in bench.figures:
        if values := pick(found, figure.path):
            other = pick(found, figure.other[1]) if figure.other else []
            result.shown.append(spread(figure, values, statistics.median(other) if other else None))
        else:
            result.missing.append(figure.label)
    return result


def spread(figure: Figure, values: list[float], other: float | None = None) -> Shown:
    """Median and quartiles."""
    low, high = min(values), max(values)
    if len(values) >= 4:
        low, _, high = statistics.quantiles(values, n=4)
    return Shown(figure, low, statistics.median(values), high, len(values), other)


def pick(found: Any, path: str) -> list[float]:
    """The number at a path, or one for each repetition; none where there is none."""
    for key in path.split(" > "):
        try:
            found = found[int(key)] if isinstance(found, list) else found[key]
        except (KeyError, IndexError, TypeError, ValueError):
            return []
    values = found if isinstance(found, list) else [found]
    return [float(value) for value in values if isinstance(value, int | float)]


def _filled(args: tuple[str, ...], peers: dict[str, str], folder: Path, given: Mapping[str, Path | None]) -> list[str]:
    """Arguments with paths in them; "--option={NAME}/FILE" is left out where that is not there."""
    filled = []
    for arg in args:
        arg = arg.replace("{peers}", str(folder))
        for name in PEERS:
            arg = arg.replace(f"{{python:{name}}}", peers.get(name, ""))
        if "{" in arg:
            for name, path in given.items():
                arg = arg.replace(f"{{{name}}}", str(path)) if path is not None else arg
            if "{" in arg or not Path(arg.partition("=")[2]).exists():
                continue
        filled.append(arg)
    return filled


def _once(script: Path, args: list[str], bench: Bench) -> tuple[str, str]:
    """stdout, and why there is none."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
    command = [sys.executable, str(script), *args, "--json"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=bench.seconds, check=False, env=environment, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        return "", f"took longer than {bench.seconds} s"
    if done.returncode != 0:
        return "", (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    return done.stdout, ""
