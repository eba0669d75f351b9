"""How long ``chainops --help`` takes, as a ratio to a bare Typer program's ``--help``, both run in turn.

``python tests/bench/bench_cli.py [--rounds 15] [--json]``. The bare program has as many commands as chainops.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from repeated import medians, ratios

BARE = """
import typer
app = typer.Typer(no_args_is_help=True, add_completion=False, help="A bare program.")
@app.command()
def db() -> None: "One."
@app.command()
def demo() -> None: "Two."
@app.command()
def docs() -> None: "Three."
@app.command()
def trace() -> None: "Four."
app()
"""


def seconds(words: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "bare.py"
        script.write_text(BARE)
        commands = {
            "bare typer --help": [sys.executable, str(script), "--help"],
            "chainops --help": [sys.executable, "-m", "chainops", "--help"],
            "chainops --version": [sys.executable, "-m", "chainops", "--version"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.rounds + 1):
            for name, words in commands.items():
                times[name].append(seconds(words))
    base = times["bare typer --help"][1:]
    results = {
        name: {
            "seconds": found[1:],
            "ratio": ratios(found[1:], base),
        }
        for name, found in times.items()
    }
    if options.json:
        print(json.dumps(results, indent=2))
    else:
        for name, row in medians(results).items():
            print(f"{name:20} {row['seconds']:.3f} s  {row['ratio']:.2f}x")


if __name__ == "__main__":
    main()
