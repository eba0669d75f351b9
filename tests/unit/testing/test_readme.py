"""A README that is not true is found, and a package that is not installed can be tested as if it were."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chainops import SetupError
from chainops.testing import check_readme, readme_steps, write_metadata

PAGE = """# Title

```console
$ echo one
$ echo CHAINOPS is ${CHAINOPS_X:-unset}
```

```text
one
CHAINOPS is unset
```

```console
$ python -c 'print("took 17 ms")'
```

Output:

```text
took … ms
```

```console
$ true
```

Nothing is said of that one.
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "README.md"
    file.write_text(text, encoding="utf-8")
    return file


def test_every_command_of_a_page_is_run_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAINOPS_X", "set")
    file = write(tmp_path, PAGE)
    assert [len(step.commands) for step in readme_steps(file)] == [2, 1, 1]
    assert [step.expected is None for step in readme_steps(file)] == [False, False, True]
    assert check_readme(file, tmp_path) == 4


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("unset\n```", "other\n```", "prints something else"),
        ("took …", "lasted …", "prints something else"),
        ("one\nCHAINOPS", "one\ntwo\nCHAINOPS", "prints something else"),
        ("$ true", "$ false", "'false' ended with 1"),
        ("$ true", "$ no-such-program", "ended with 127"),
    ],
)
def test_a_page_that_is_wrong_is_found(tmp_path: Path, old: str, new: str, problem: str) -> None:
    assert old in PAGE
    with pytest.raises(AssertionError, match=problem):
        check_readme(write(tmp_path, PAGE.replace(old, new)), tmp_path)


def test_a_page_may_call_chainops_itself(tmp_path: Path) -> None:
    assert check_readme(write(tmp_path, "```console\n$ chainops --version\n```\n"), tmp_path) == 1


def test_a_package_is_found_by_its_entry_point_without_being_installed(tmp_path: Path) -> None:
    package, site = tmp_path / "package", tmp_path / "site"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[project]\nname = "chainops-here"\nversion = "3.1"\n'
        '[project.entry-points."chainops.plugins"]\nhere = "here_p:p"\n'
    )
    (package / "here_p.py").write_text("from chainops.plugin import Plugin\np = Plugin(name='here')\n")
    assert write_metadata(package, site) == "here"
    code = (
        f"import sys; sys.path[:0] = [{str(site)!r}, {str(package)!r}]\n"
        "from chainops.plugin import find_plugin, installed_plugins, origin_of\n"
        "print(find_plugin('here').name, origin_of(installed_plugins()['here']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "here here_p:p, from chainops-here 3.1\n"


def test_a_package_without_the_entry_point_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n')
    with pytest.raises(SetupError, match="no entry point"):
        write_metadata(tmp_path, tmp_path / "site")
