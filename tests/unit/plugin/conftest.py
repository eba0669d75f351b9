"""Plugins that are really installed: a folder on the path with a module and the metadata an installer writes."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """``install(name, code)``: a package ``chainops-<name>`` with the module ``chainops_<name>``; returns its file."""
    made: list[str] = []

    def install(name: str, code: str, *, dist: str = "", module: str = "", attribute: str = "plugin") -> Path:
        dist, module = dist or f"chainops-{name}", module or f"chainops_{name}"
        site = tmp_path / "site"
        info = site / f"{dist.replace('-', '_')}-1.2.3.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.2.3\n")
        (info / "entry_points.txt").write_text(f"[chainops.plugins]\n{name} = {module}:{attribute}\n")
        file = site / f"{module}.py"
        file.write_text(textwrap.dedent(code))
        (info / "RECORD").write_text(f"{file.name},,\n{info.name}/METADATA,,\n{info.name}/RECORD,,\n")
        monkeypatch.syspath_prepend(str(site))
        made.append(module)
        return file

    yield install
    for module in made:
        sys.modules.pop(module, None)
