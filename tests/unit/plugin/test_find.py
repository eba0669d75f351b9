"""Plugins as an installer leaves them: found, refused, and wrong in every way that a stranger's package can be."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from chainops import App, SetupError
from chainops.plugin import Plugin, find_plugin, installed_plugins, package_hash

QUIET = """
from chainops.plugin import Plugin
plugin = Plugin(name="quiet")
"""


def test_an_installed_plugin_is_found_and_nothing_is_imported_to_list_it(install: Any) -> None:
    install("quiet", QUIET)
    assert installed_plugins()["quiet"].value == "chainops_quiet:plugin"
    assert "chainops_quiet" not in sys.modules
    assert find_plugin("quiet").name == "quiet"


@pytest.mark.parametrize(
    ("code", "match"),
    [
        (
            "import nothing_like_this",
            r"chainops_bad:plugin, from chainops-bad 1.2.3\) does not load: ModuleNotFoundError",
        ),
        ("x = 1\nx / 0\n", r"ZeroDivisionError: .*chainops_bad.py, line 2"),
        ("def broken(:\n", r"SyntaxError.*chainops_bad.py, line 1"),
        ("other = 1", "AttributeError"),
        ("plugin = 'text'", "is a str, not a chainops Plugin"),
        (
            "from chainops.plugin import Plugin\nplugin = Plugin(name='bad', api=2)",
            "speaks plugin API 2, this chainops speaks 1",
        ),
        (
            "from chainops.plugin import Plugin\nplugin = Plugin(name='good')",
            "brings a plugin that calls itself 'good'",
        ),
        ("from chainops.plugin import Plugin\nplugin = Plugin(name='Bad one')", "is no name for a plugin"),
    ],
)
def test_a_plugin_that_does_not_load_says_which_why_and_where(install: Any, code: str, match: str) -> None:
    install("bad", code)
    with pytest.raises(SetupError, match=match) as caught:
        find_plugin("bad")
    assert "'bad'" in str(caught.value) or "Bad one" in str(caught.value)


def test_an_unknown_plugin_is_answered_with_the_nearest_name(install: Any) -> None:
    install("quiet", QUIET)
    with pytest.raises(SetupError, match="Did you mean 'quiet'"):
        find_plugin("quite")


def test_two_packages_with_one_name_are_an_error_and_not_a_choice(install: Any) -> None:
    install("quiet", QUIET)
    install("quiet", QUIET, dist="other-quiet", module="other_quiet")
    with pytest.raises(SetupError, match=r"Two packages offer a plugin 'quiet'.*other-quiet 1.2.3"):
        installed_plugins()


def test_a_misspelt_option_is_answered_with_the_nearest_one() -> None:
    from pydantic import BaseModel

    class Options(BaseModel, extra="forbid"):
        tokens: int = 1

    with pytest.raises(
        SetupError, match=r"tokens: Input should be.*; tokns does not exist \(did you mean 'tokens'\?\)"
    ):
        Plugin(name="budget", options=Options).check_options({"tokens": "x", "tokns": 2})


def test_only_a_package_with_the_allowed_hash_is_imported(install: Any) -> None:
    file = install("quiet", QUIET)
    allowed = {"quiet": package_hash(installed_plugins()["quiet"])}
    assert "chainops_quiet" not in sys.modules
    assert find_plugin("quiet", allowed=allowed).name == "quiet"
    sys.modules.pop("chainops_quiet")
    file.write_text(QUIET + "# one line more\n")
    with pytest.raises(SetupError, match="the allow-list says sha256:"):
        find_plugin("quiet", allowed=allowed)
    with pytest.raises(SetupError, match=r"not on the allow-list \(which is empty\)"):
        find_plugin("quiet", allowed={})
    assert "chainops_quiet" not in sys.modules, "it was imported before it was refused"


def test_the_hash_is_that_of_the_files_wherever_and_however_they_were_installed(install: Any, tmp_path: Path) -> None:
    file = install("quiet", QUIET)
    before = package_hash(installed_plugins()["quiet"])
    (tmp_path / "site" / "chainops_quiet-1.2.3.dist-info" / "INSTALLER").write_text("another")
    (file.parent / "__pycache__").mkdir(exist_ok=True)
    (file.parent / "__pycache__" / "chainops_quiet.cpython-311.pyc").write_bytes(b"compiled")
    assert package_hash(installed_plugins()["quiet"]) == before


def test_an_application_refuses_what_is_not_on_its_allow_list(install: Any, tmp_path: Path) -> None:
    install("quiet", QUIET)
    given: dict[str, Any] = {"pipeline": {"middleware": []}, "plugins": {"quiet": {}}}
    App(**given)
    with pytest.raises(SetupError, match="not on the allow-list"):
        App(**given, trust={"plugins": {}})
