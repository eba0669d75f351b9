"""Fixtures for tests of applications: pytest finds them by itself where chainops is installed.

Nothing heavy is imported until a test asks for a fixture. They work in plain tests and with pytest-asyncio.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from chainops.app import App
    from chainops.plugin import Plugin
    from chainops.testing import PromptSnapshot, RecordedTrace, ScriptedModel

__all__ = [
    "chainops_app",
    "installed_plugin",
    "prompt_snapshot",
    "pytest_addoption",
    "pytest_runtest_makereport",
    "scripted_model",
    "trace",
]

_FAILED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--update-prompts``."""
    group = parser.getgroup("chainops")
    group.addoption("--update-prompts", action="store_true", help="Write prompt snapshots that changed.")


@pytest.fixture
def chainops_app(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """The application of the ``chainops.toml`` beside the test file, or of one above it; else on defaults.

    What it writes (trace, caches, accounts, vault, counts) is in a folder of this test. The test may ask for settings
    with ``@pytest.mark.parametrize("chainops_settings", [{...}])``, or a fixture of that name: sections as keywords.
    """
    from chainops.app import App
    from chainops.settings import load_settings

    given: dict[str, Any] = {}
    if "chainops_settings" in request.fixturenames:
        given = dict(request.getfixturevalue("chainops_settings"))
    file = _settings_of(request.path, request.config.rootpath)
    if file is None:
        monkeypatch.chdir(tmp_path)  # a chainops.toml of the folder where pytest was started is not the test's
    wanted = load_settings(file, environ={}, **given)
    for section, key in _WRITTEN:
        place = getattr(getattr(wanted, section), key)
        if place is not None:
            given[section] = {key: str(tmp_path / place.name), **given.get(section, {})}
    given["trace"] = {**given["trace"], "path": str(tmp_path / "chainops.db")}
    with App(load_settings(file, environ={}, **given)) as app:
        yield app


_WRITTEN = (
    ("trace", "path"),
    ("cache", "directory"),
    ("semantic_cache", "directory"),
    ("budgets", "path"),
    ("limits", "path"),
    ("chain", "path"),
    ("pii", "vault"),
)
"""Settings that name a file or folder that an application writes to while it runs."""


def _settings_of(test: Path, root: Path) -> Path | None:
    for folder in test.parents:
        if (folder / "chainops.toml").is_file():
            return folder / "chainops.toml"
        if folder == root:
            break
    return None


@pytest.fixture
def trace(chainops_app: App) -> RecordedTrace:
    """What ``chainops_app`` recorded: ``trace.model_calls``, ``trace.assert_span("tool", "search")``."""
    from chainops.testing import RecordedTrace

    return RecordedTrace(chainops_app.settings.trace.path, chainops_app.flush)


@pytest.fixture
def installed_plugin(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plugin:
    """The plugin of the package that the test file belongs to, found by its entry point as if it were installed.

    For subprocesses of the test too. Its code stays where it is, in ``src`` or beside the ``pyproject.toml``.
    """
    from chainops.plugin import find_plugin
    from chainops.testing.installed import write_metadata

    package = next(folder for folder in request.path.parents if (folder / "pyproject.toml").is_file())
    site, source = tmp_path / "site", package / "src" if (package / "src").is_dir() else package
    name = write_metadata(package, site)
    for folder in (site, source):
        monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(site), str(source), *sys.path])))
    return find_plugin(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Remembers whether the test itself failed: its fixtures need not say what else is wrong then."""
    report = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


@pytest.fixture
def scripted_model(request: pytest.FixtureRequest) -> Iterator[Callable[..., ScriptedModel]]:
    """Makes scripted models: ``scripted_model("first answer", "second")``. A line that no call used fails the test."""
    from chainops.testing import ScriptedModel

    made: list[ScriptedModel] = []

    def make(*script: Any, **options: Any) -> ScriptedModel:
        made.append(ScriptedModel(list(script), **options))
        return made[-1]

    yield make
    if request.node.stash.get(_FAILED, True):
        return
    for model in made:
        if not model.repeat and len(model.calls) < len(model.script):
            pytest.fail(f"the model was asked {len(model.calls)} times, its script has {len(model.script)} lines")


@pytest.fixture
def prompt_snapshot(request: pytest.FixtureRequest) -> PromptSnapshot:
    """Compares prompts with files in ``snapshots/<test file>/`` beside the test."""
    from chainops.testing import PromptSnapshot

    folder = request.path.parent / "snapshots" / request.path.stem
    return PromptSnapshot(folder, update=bool(request.config.getoption("--update-prompts")))
