"""Plugins as an installer leaves them: found, refused, and wrong in every way that a stranger's package can be."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from chainops import App, SetupError
from chainops.cli import main
from chainops.plugin import Plugin, find_plugin, installed_plugins, package_hash
from chainops.settings import load_settings

QUIET = """
from chainops.plugin import Plugin
plugin = Plugin(name="quiet")
"""
WITH_OPTIONS = """
from chainops.plugin import Plugin
from pydantic import BaseModel

class Options(BaseModel, extra="forbid"):
    loud: int = 0

plugin = Plugin(name="quiet", options=Options)
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


def test_a_plugin_that_the_allow_list_refuses_shows_its_line_for_the_list_and_is_not_imported(
    install: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install("quiet", QUIET)
    monkeypatch.chdir(tmp_path)
    settings = tmp_path / "chainops.toml"
    settings.write_text('[trust.plugins]\nother = "sha256:' + "0" * 64 + '"\n')
    with pytest.raises(SystemExit) as done:
        main(["plugin", "info", "quiet"])
    assert done.value.code == 0
    said = capsys.readouterr().out
    assert "not imported: Plugin 'quiet' is not on the allow-list (other)" in said
    assert "chainops_quiet" not in sys.modules
    settings.write_text(said[said.index("[trust.plugins]") :])
    assert find_plugin("quiet", allowed=load_settings(settings).trust.plugins).name == "quiet"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            '[pipeline]\nmiddleware = ["trace", "quiet"]\n',
            "names 'quiet', which no .* provides (chainops.toml, line 2)",
            "The plugin 'quiet' is installed; a table [plugins.quiet] enables it.",
        ),
        (
            '[pipeline]\nmiddleware = ["trace", "quite"]\n',
            "provides (chainops.toml, line 2)",
            "Did you mean 'quiet'? That plugin is installed; a table [plugins.quiet] enables it.",
        ),
        ('[pipeline]\nmiddleware = ["trace", "chache"]\n', "(chainops.toml, line 2)", "Did you mean 'cache'?"),
        ("\n[plugins.quite]\n", "There is no plugin 'quite' (chainops.toml, line 2)", "Did you mean 'quiet'?"),
        (
            "[plugins.quiet]\nlouder = 1\nlound = 2\n",
            "louder does not exist (did you mean 'loud'?) (chainops.toml, line 2); "
            "lound does not exist (did you mean 'loud'?) (chainops.toml, line 3)",
            "Mend the table [plugins.quiet].",
        ),
    ],
)
def test_a_misspelt_layer_plugin_or_option_is_named_with_its_line_and_the_nearest_name(
    install: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str, hint: str
) -> None:
    install("quiet", WITH_OPTIONS)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chainops.toml").write_text(text)
    with pytest.raises(SetupError) as caught:
        App()
    assert re.search(re.escape(message).replace(re.escape(".*"), ".*"), caught.value.message), caught.value.message
    assert caught.value.hint == hint


def test_an_option_from_the_environment_is_named_by_its_variable(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    install("quiet", WITH_OPTIONS)
    monkeypatch.setenv("CHAINOPS_PLUGINS__QUIET__LOUD", '"very"')
    with pytest.raises(SetupError, match=r"loud: Input should be .* \(CHAINOPS_PLUGINS__QUIET__LOUD\)"):
        App(pipeline={"middleware": []})


def test_a_command_that_there_is_not_is_answered_with_the_nearest_one_or_its_plugin(
    install: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install("quiet", QUIET)
    monkeypatch.chdir(tmp_path)
    for word, answer in (("plugn", "Did you mean 'plugin'?"), ("quiet", "a table [plugins.quiet] in chainops.toml")):
        with pytest.raises(SystemExit) as done:
            main([word, "list"])
        assert done.value.code == 2
        assert answer in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_an_application_refuses_what_is_not_on_its_allow_list(install: Any, tmp_path: Path) -> None:
    install("quiet", QUIET)
    given: dict[str, Any] = {"pipeline": {"middleware": []}, "plugins": {"quiet": {}}}
    App(**given)
    with pytest.raises(SetupError, match="not on the allow-list"):
        App(**given, trust={"plugins": {}})
