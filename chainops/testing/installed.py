"""A plugin package as if it were installed, for its own tests: the metadata that an installer writes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from chainops.errors import SetupError
from chainops.plugin import GROUP

__all__ = ["write_metadata"]


def write_metadata(package: str | Path, site: str | Path) -> str:
    """Write into ``site`` what an installer writes about the package in the folder ``package``; the plugin's name.

    With ``site`` and the package's source folder on ``sys.path``, chainops finds the plugin by its entry point. No code
    is copied. In tests the fixture ``installed_plugin`` does all this.

    Raises:
        SetupError: its ``pyproject.toml`` has no entry point in the group ``chainops.plugins`` (``setup.plugin_load``).
    """
    project: dict[str, Any] = tomllib.loads((Path(package) / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = project.get("entry-points", {}).get(GROUP, {})
    if not points:
        raise SetupError(
            f"{package}/pyproject.toml has no entry point in the group {GROUP}",
            hint=f'Add [project.entry-points."{GROUP}"] with name = "module:plugin".',
            code="setup.plugin_load",
        )
    name, version = project["name"], project["version"]
    info = Path(site) / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    lines = "".join(f"{point} = {value}\n" for point, value in points.items())
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}", encoding="utf-8")
    return str(next(iter(points)))
