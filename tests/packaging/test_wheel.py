"""The wheel carries all that a person without the repository needs."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    # without isolation: hatchling is pinned with everything else, and no network is needed
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    finished = subprocess.run(build, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (made,) = out.glob("*.whl")
    return made


def test_the_wheel_carries_docs_migrations_recipes_and_the_model(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for wanted in (
        "chainops/py.typed",
        "chainops/docs/changelog.md",
        "chainops/_shipped/migrations/env.py",
        "chainops/_shipped/recipes/support_desk/app.py",
        "chainops/_shipped/recipes/tiny_model/support-desk-tiny.gguf",
        "chainops/_shipped/recipes/tiny_model/support-desk-tiny.gguf.sha256",
    ):
        assert wanted in names
    assert not [name for name in names if name.endswith((".db", ".pyc", ".pt"))]


def test_the_wheel_runs_apart_from_the_repository(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import chainops; from chainops.store.shipped import shipped\n"
        "assert chainops.__file__.startswith(sys.argv[1]), chainops.__file__\n"
        "print(shipped('migrations'), shipped('recipes'))\n"
        "from chainops.cli import main; main(['db', 'upgrade', '--db', 'x.db'])\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "site")], capture_output=True, text=True, cwd=tmp_path
    )
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "x.db").is_file()
