"""Environments of the peers: they conflict with each other, so each has its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PEERS = {
    "opentelemetry": ["opentelemetry-sdk>=1.30,<2", "opentelemetry-exporter-otlp-proto-http>=1.30,<2"],
    "langfuse": ["langfuse>=4,<6"],
    "langsmith": ["langsmith>=0.4,<1"],
    "mlflow": ["mlflow>=3,<4"],
    "phoenix": ["arize-phoenix>=20,<21"],
    "langchain_cache": ["langchain-community>=0.4,<1"],
    "litellm": ["litellm>=1.80,<2"],
    "torch": ["sentence-transformers>=5,<7"],
}
"""By name: what is installed. LiteLLM, MLflow and others are peers here, never dependencies."""


def make_peers(names: list[str], folder: Path) -> dict[str, str]:
    """Python of each peer; one that cannot be made is left out, with a line on stderr."""
    made: dict[str, str] = {}
    for name in names:
        python = folder / name / "bin" / "python"
        done = folder / name / ".made"
        if not done.is_file() or done.read_text() != "\n".join(PEERS[name]):
            sys.stderr.write(f"making the environment of {name}: {', '.join(PEERS[name])}\n")
            steps = ([sys.executable, "-m", "venv", str(folder / name)], _install(python, PEERS[name]))
            failed = next((r for r in map(_quiet, steps) if r), "")
            if failed:
                sys.stderr.write(f"  not made, its rows are not run: {failed}\n")
                continue
            done.write_text("\n".join(PEERS[name]))
        made[name] = str(python)
    return made


def _install(python: Path, packages: list[str]) -> list[str]:
    return [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]


def _quiet(command: list[str]) -> str:
    """What went wrong; empty: nothing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it failed"])[-1]
