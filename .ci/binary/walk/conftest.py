"""The binary, and a place without anything else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from box import Box

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def binary() -> Path:
    named = os.environ.get("CHAINOPS_BINARY")
    found = [Path(named)] if named else sorted(p for p in (ROOT / "dist").glob("chainops-*-x86_64") if p.is_file())
    if not found:
        pytest.skip("there is no binary: make binary")
    return found[-1]


@pytest.fixture(scope="module")
def box(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    if os.geteuid() != 0:
        pytest.skip("needs root, for an empty root folder and namespaces")
    if subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True).returncode:
        pytest.skip("namespaces cannot be made here")
    root = tmp_path_factory.mktemp("root")
    yield Box(root, binary)
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def figures() -> Iterator[dict[str, float]]:
    """What was measured; printed at the end."""
    measured: dict[str, float] = {}
    yield measured
    print("\n" + "\n".join(f"{name}: {value:.2f}" for name, value in measured.items()))
