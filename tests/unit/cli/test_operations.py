"""chainops settings, backup and restore on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chainops.cli import app
from chainops.errors import StoreError
from chainops.settings.explain import MASK, effective
from chainops.store.migrate import upgrade


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)

    def run(*words: str, **environment: str) -> Any:
        result = CliRunner().invoke(app, list(words), env=environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def test_show_says_where_each_setting_comes_from(run: Any) -> None:
    Path("chainops.toml").write_text('[trace]\nsample = 0.5\nmax_queue = 7\n[nodes."a/*"]\noff = ["trace"]\n')
    shown = run("settings", "show", "--json", CHAINOPS_TRACE__SAMPLE="0.25").stdout
    rows = {row["key"]: (row["value"], row["source"]) for row in json.loads(shown)}
    assert rows["trace.sample"] == (0.25, "environment")
    assert rows["trace.max_queue"] == (7, "chainops.toml")
    assert rows["trace.content"] == (True, "default")
    assert rows["nodes.a/*"] == ({"off": ["trace"]}, "chainops.toml")
    changed = run("settings", "show", "--changed", CHAINOPS_TRACE__SAMPLE="0.25").stdout
    assert re.findall(r"^ ?(\S+\.\S+) ", changed, re.MULTILINE) == ["trace.sample", "trace.max_queue", "nodes.a/*"]


def test_texts_that_are_named_like_secrets_are_masked() -> None:
    rows = effective(environ={"CHAINOPS_PLUGINS__MAIL__API_KEY": "abc", "CHAINOPS_PLUGINS__MAIL__TOKENS": "5"})
    (mail,) = [row.value for row in rows if row.key == "plugins.mail"]
    assert mail == {"api_key": MASK, "tokens": 5}


def test_check_builds_the_pipeline_and_says_no_with_exit_code_1(run: Any) -> None:
    Path("chainops.toml").write_text('[pipeline]\nmiddleware = ["trace", "prompts"]\n')
    assert run("settings", "check").stdout == "ok: trace → prompts\n"
    Path("chainops.toml").write_text('[pipeline]\nmiddleware = ["prompts", "trace"]\n')
    wrong = run("settings", "check", "--json")
    assert (wrong.exit_code, json.loads(wrong.stdout)["code"]) == (1, "setup.order")
    Path("chainops.toml").write_text("[trace]\npth = 3\n")
    wrong = run("settings", "check")
    assert wrong.exit_code == 1
    assert "did you mean 'path'" in wrong.stdout


def test_the_schema_names_every_section_and_refuses_others(run: Any) -> None:
    schema = json.loads(run("settings", "schema").stdout)
    assert {"trace", "pipeline", "nodes", "plugins"} <= schema["properties"].keys()
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["TraceSettings"]["properties"]["sample"]["maximum"] == 1


def test_backup_and_restore_from_the_command_line(run: Any, tmp_path: Path) -> None:
    upgrade("chainops.db")
    made = json.loads(run("backup", "b.tar.gz", "--json").stdout)
    assert [kept["path"] for kept in made["kept"]] == ["chainops.db"]
    assert run("restore", "b.tar.gz", "--check").exit_code == 0
    placed = json.loads(run("restore", "b.tar.gz", "--into", "new", "--json").stdout)["placed"]
    assert placed == ["new/chainops.db"]
    Path("b.tar.gz").write_bytes(b"no")
    assert run("restore", "b.tar.gz", "--check").exit_code == 1
    with pytest.raises(StoreError, match="no whole backup"):
        run("restore", "b.tar.gz")
