"""Every first-party plugin is a package of its own: its wheel has all that it needs, and chainops finds it there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PACKAGES = sorted(file.parent for file in HERE.glob("*/pyproject.toml"))
NAMES = [package.name for package in PACKAGES]


@pytest.mark.parametrize("package", PACKAGES, ids=NAMES)
def test_the_wheel_of_a_plugin_works_apart_from_its_sources(package: Path, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(package)]
    finished = subprocess.run(build, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = (
        "import sys; from chainops.plugin import find_plugin\n"
        f"found = find_plugin({package.name!r})\n"
        f"module = sys.modules['chainops_{package.name}']\n"
        f"assert module.__file__.startswith({str(site)!r}), module.__file__\n"
        "print(found.version)"
    )
    path = os.pathsep.join([str(site), str(ROOT)])
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert found.returncode == 0, found.stderr
    project = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))["project"]
    assert found.stdout.strip() == project["version"]


@pytest.mark.parametrize("package", PACKAGES, ids=NAMES)
def test_a_plugin_has_tests_a_readme_a_page_and_its_place_in_the_settings_of_the_tools(package: Path) -> None:
    assert list((package / "tests").glob("test_*.py"))
    page = (ROOT / "chainops" / "docs" / "plugins" / f"{package.name}.md").read_text("utf-8")
    readme = (package / "README.md").read_text("utf-8")
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    assert f"plugins/{package.name}/src" in tools["pytest"]["ini_options"]["pythonpath"]
    assert f"chainops_{package.name}" in tools["mypy"]["packages"]
    assert f"[{package.name}]({package.name}/README.md)" in (HERE / "README.md").read_text("utf-8")
    for text in (page, readme):
        assert f"[plugins.{package.name}" in text
        assert sorted(options_in(text)) == sorted(options_of(package.name)), "the table of options is not the real one"


def options_in(text: str) -> list[str]:
    table = re.search(r"^\| option \|.*\n\|[-| ]+\n((?:\|.*\n)*)", text, re.MULTILINE)
    return re.findall(r"^\| `(\w+)`", table[1], re.MULTILINE) if table else []


def options_of(name: str) -> list[str]:
    from importlib import import_module

    options = import_module(f"chainops_{name}").plugin.options
    return [] if options is None else list(options.model_fields)
