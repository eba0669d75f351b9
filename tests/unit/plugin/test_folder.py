"""Plugins from a folder of wheels: nothing runs that nobody allowed."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chainops.errors import SetupError
from chainops.plugin import find_plugin
from chainops.plugin.folder import ALLOWED, add_folder

CODE = """
from chainops.plugin import Plugin

plugin = Plugin(name="hello")
"""


def write_wheel(folder: Path, *, tag: str = "py3-none-any", extra: dict[str, str] | None = None) -> Path:
    """A wheel as a build tool writes it, with the one plugin ``hello``."""
    info = "hello_plugin-1.0.dist-info"
    files = {
        "hello_plugin/__init__.py": CODE,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: hello-plugin\nVersion: 1.0\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
        f"{info}/entry_points.txt": "[chainops.plugins]\nhello = hello_plugin:plugin\n",
        **(extra or {}),
    }
    rows = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{name},sha256={digest},{len(text)}")
    record = "\n".join([*rows, f"{info}/RECORD,,", ""])
    wheel = folder / f"hello_plugin-1.0-{tag}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return wheel


def allow(*wheels: Path) -> None:
    lines = [f"{hashlib.sha256(wheel.read_bytes()).hexdigest()}  {wheel.name}\n" for wheel in wheels]
    (wheels[0].parent / ALLOWED).write_text("# checked by the operator\n" + "".join(lines))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("CHAINOPS_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    made = tmp_path / "plugins"
    made.mkdir()
    yield made
    sys.modules.pop("hello_plugin", None)


def refused(folder: Path) -> str:
    with pytest.raises(SetupError) as caught:
        add_folder(folder)
    assert (caught.value.code, bool(caught.value.hint)) == ("setup.plugin_folder", True)
    return str(caught.value)


def test_a_plugin_from_an_allowed_wheel_is_found(folder: Path) -> None:
    allow(write_wheel(folder))
    (place,) = add_folder(folder)
    assert find_plugin("hello").name == "hello"
    assert sys.path[-1] == str(place)  # behind everything that is installed: it can replace nothing
    assert add_folder(folder) == [place]


def test_nothing_runs_without_a_list_or_that_is_not_in_it(folder: Path) -> None:
    wheel = write_wheel(folder)
    assert "sha256sum" in refused(folder)
    (folder / ALLOWED).write_text("")
    assert "is not in allowed.sha256" in refused(folder)
    allow(wheel)
    wheel.write_bytes(wheel.read_bytes() + b" ")
    assert "is not the file that allowed.sha256 names" in refused(folder)
    allow(wheel)
    wheel.unlink()
    assert "which is not there" in refused(folder)
    assert not [path for path in sys.path if "runtime" in path]


def test_what_was_unpacked_is_compared_at_every_start(folder: Path) -> None:
    allow(write_wheel(folder))
    (place,) = add_folder(folder)
    (place / "hello_plugin" / "__init__.py").write_text("evil = True\n")
    assert "hello_plugin/__init__.py is not what" in refused(folder)
    (place / "hello_plugin" / "__init__.py").write_text(CODE)
    assert add_folder(folder) == [place]
    (place / "json.py").write_text("evil = True\n")
    assert "json.py is not what" in refused(folder)


def test_a_wheel_for_another_python_or_a_damaged_one_is_refused(folder: Path) -> None:
    allow(write_wheel(folder, tag="cp39-cp39-win_amd64"))
    assert "does not run on" in refused(folder)
    (folder / "hello_plugin-1.0-cp39-cp39-win_amd64.whl").unlink()
    wheel = write_wheel(folder)
    wheel.write_bytes(b"no zip")
    allow(wheel)
    assert "Cannot unpack" in refused(folder)


def test_a_wheel_cannot_write_outside_of_its_place(folder: Path) -> None:
    allow(write_wheel(folder, extra={"../../evil.py": "evil = True"}))
    assert "leads outside" in refused(folder)
    assert not list(folder.parent.rglob("evil.py"))


def test_the_command_line_finds_plugins_of_a_folder(folder: Path) -> None:
    allow(write_wheel(folder))
    command = [sys.executable, "-m", "chainops", "--plugins", str(folder), "plugin", "list", "--json"]
    shown = subprocess.run(command, capture_output=True, text=True, cwd=folder.parent)
    assert '"hello"' in shown.stdout, shown.stderr
    (folder / ALLOWED).unlink()
    shown = subprocess.run(command, capture_output=True, text=True, cwd=folder.parent)
    assert (shown.returncode, "setup.plugin_folder" in shown.stderr) == (2, True)
