"""What a plugin brings beside middleware: engines, scorers, commands, tables, pages; in a real folder."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chainops import App, SetupError
from chainops.errors import LimitExceeded, StoreError
from chainops.store.migrate import upgrade
from chainops.store.plugin_tables import apply_migrations

ALL = '''
import sqlite3
from pydantic import BaseModel, Field
from chainops import Middleware
from chainops.plugin import Plugin
from chainops.store.cache.memory import LocalStore
from chainops.middleware.pii import Finding
from chainops.testing import ScriptedModel


class Greeted:
    def __init__(self, word):
        self.word = word

    def find(self, text, field=""):
        start = text.find(self.word)
        return [] if start < 0 else [Finding(start, start + len(self.word), "GREETING", 0.9)]


class Options(BaseModel, extra="forbid"):
    greeting: str = Field(default="hello", description="What is said.")


class Note(Middleware):
    suspends = False

    async def wrap_model_call(self, call, call_next):
        result = await call_next(call)
        call.annotate("note", seen=True)
        return result


def page(options, trace):
    runs = sqlite3.connect(trace).execute("SELECT count(*) FROM run").fetchone()[0]
    return f"<h1>{options.greeting}: {runs}</h1>"


plugin = Plugin(
    name="all",
    version="1.2.3",
    options=Options,
    middleware=lambda options: [Note()],
    stores={"cache": lambda options: LocalStore(limit=7)},
    detectors={"greeted": lambda options: Greeted(options.greeting)},
    engines={"echo": lambda options, model: ScriptedModel([f"{options.greeting} from {model}"])},
    scorers={"length": lambda options, span: len(span.output) if span.kind == "node" else None},
    commands="chainops_all:commands",
    migrations=["CREATE TABLE all_seen (run TEXT PRIMARY KEY);\\nCREATE INDEX all_by_run ON all_seen (run);"],
    pages={"count": page},
)


def __getattr__(name):
    if name != "commands":
        raise AttributeError(name)
    import typer

    app = typer.Typer()

    @app.command()
    def greet(who: str) -> None:
        """Greet somebody."""
        typer.echo(f"hello {who}")

    @app.command()
    def leave() -> None:
        """Say goodbye."""
        typer.echo("bye")

    return app
'''


@pytest.fixture
def folder(install: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install("all", ALL)
    made = tmp_path / "application"
    made.mkdir()
    (made / "chainops.toml").write_text(
        '[pipeline]\nmiddleware = ["trace", "note"]\n[plugins.all]\ngreeting = "moin"\n'
    )
    monkeypatch.chdir(made)
    return made


def chainops(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder.parent / "site"), *sys.path])
    return subprocess.run(
        [sys.executable, "-m", "chainops", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": path},
    )


def run_once(app: App) -> None:
    from langgraph.graph import START, MessagesState, StateGraph

    builder = StateGraph(MessagesState)
    builder.add_node("echo", lambda state: {"messages": []})
    builder.add_edge(START, "echo")
    app.instrument(builder.compile()).invoke({"messages": []})


def ask_once(app: App) -> None:
    from langgraph.graph import START, MessagesState, StateGraph

    from chainops.testing import ScriptedModel

    model = ScriptedModel(["An answer."])
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_edge(START, "answer")
    app.instrument(builder.compile()).invoke({"messages": ["A question?"]})


def test_an_application_gets_engine_tables_and_layer_of_its_plugin(folder: Path) -> None:
    with App() as app:
        assert app.engine("all/echo", "m1").invoke("hi").text == "moin from m1"
        assert app.engine("all", "m2").invoke("hi").text == "moin from m2"
        assert [layer.name for layer in app.pipeline.middleware] == ["trace", "note"]
    with sqlite3.connect("chainops.db") as db:
        assert db.execute("SELECT plugin, number FROM plugin_migration").fetchall() == [("all", 1)]
        assert db.execute("SELECT count(*) FROM all_seen").fetchone() == (0,)


@pytest.mark.parametrize(
    ("name", "match"),
    [("all/eco", "Did you mean 'all/echo'"), ("al/echo", "Did you mean 'all'"), ("none", "Give it a table")],
)
def test_an_engine_that_nobody_brings_is_a_clear_error(folder: Path, name: str, match: str) -> None:
    with App() as app, pytest.raises(SetupError, match=match):
        app.engine(name, "m")


def test_the_cache_keeps_its_answers_in_the_store_that_a_plugin_brings(folder: Path) -> None:
    layers = {"pipeline": {"middleware": ["trace", "note", "cache"]}}
    with App(**layers, cache={"store": "all"}) as app:
        assert app.pipeline.middleware[2].tiers.store.limit == 7  # type: ignore[attr-defined]
    with pytest.raises(SetupError, match="Plugin 'al' is not enabled"):
        App(**layers, cache={"store": "al"})
    limits = {"store": "all", "rules": [{"name": "r", "requests": 5}]}
    with pytest.raises(SetupError, match="Plugin 'all' brings no store for 'limits'"):
        App(pipeline={"middleware": ["trace", "limits", "note"]}, limits=limits)


def test_limits_are_counted_in_the_store_that_a_plugin_brings(
    install: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        "counts",
        """
        from chainops.middleware.limits.shared import LimitFile
        from chainops.plugin import Plugin
        plugin = Plugin(name="counts", stores={"limits": lambda options: LimitFile("counted.db")})
        """,
    )
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = {
        "pipeline": {"middleware": ["trace", "limits"]},
        "limits": {"store": "counts", "rules": [{"name": "once", "requests": 1, "period_s": 60, "max_wait_s": 0.01}]},
        "plugins": {"counts": {}},
    }
    with App(**given) as app:
        ask_once(app)
    assert Path("counted.db").is_file()
    with App(**given) as app, pytest.raises(LimitExceeded, match="once"):  # another application, the same counts
        ask_once(app)


@pytest.mark.parametrize("name", ["all", "all/greeted"])
def test_personal_data_is_found_by_the_detector_that_a_plugin_brings(folder: Path, name: str) -> None:
    with App(pipeline={"middleware": ["trace", "note", "pii"]}, pii={"persist": False, "detectors": [name]}) as app:
        clean = app.pipeline.middleware[2].scrubber()  # type: ignore[attr-defined]
        assert str(clean("They say moin there.")).startswith("They say <GREETING")


@pytest.mark.parametrize(
    ("name", "match"), [("all/greet", "Did you mean 'all/greeted'"), ("al", "Plugin 'al' is not enabled")]
)
def test_a_detector_that_nobody_brings_is_a_clear_error(folder: Path, name: str, match: str) -> None:
    with pytest.raises(SetupError, match=match):
        App(pipeline={"middleware": ["trace", "note", "pii"]}, pii={"persist": False, "detectors": [name]})


def test_the_commands_of_an_enabled_plugin_are_commands_of_chainops_and_of_no_other_folder(folder: Path) -> None:
    assert "Commands of the plugin all." in chainops(folder, "--help").stdout
    assert chainops(folder, "all", "greet", "you").stdout == "hello you\n"
    (folder / "chainops.toml").write_text("")
    refused = chainops(folder, "all", "greet", "you")
    assert refused.returncode == 2
    assert "No such command" in refused.stderr


def test_list_info_check_score_and_page_of_a_plugin_that_brings_everything(folder: Path) -> None:
    listed = json.loads(chainops(folder, "plugin", "list", "--json").stdout)
    assert listed["installed"] == [
        {"name": "all", "enabled": True, "origin": "chainops_all:plugin, from chainops-all 1.2.3"}
    ]
    told = json.loads(chainops(folder, "plugin", "info", "all", "--json").stdout)
    assert told["options"] == {"greeting": ["'hello'", "What is said."]}
    parts = {"commands", "detectors", "engines", "middleware", "migrations", "pages", "scorers", "stores"}
    assert set(told["brings"]) == parts
    checked = chainops(folder, "plugin", "check", "all")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "ok   middleware 'note' passes the conformance kit" in checked.stdout
    with App() as app:
        run_once(app)
    for _ in range(2):
        scored = chainops(folder, "plugin", "score", "all/length", "--json")
        assert json.loads(scored.stdout) == {"scorer": "all/length", "runs": 1, "scores": 1}
    with sqlite3.connect("chainops.db") as db:
        assert db.execute("SELECT name, value, source FROM score").fetchall() == [("all/length", 15.0, "rule")]
    assert chainops(folder, "plugin", "page", "all/count").stdout == "<h1>moin: 1</h1>"
    assert "Did you mean 'count'" in chainops(folder, "plugin", "page", "all/cout").stderr


def test_a_plugin_that_is_enabled_but_gone_is_said_to_be_missing_and_help_still_works(tmp_path: Path) -> None:
    (tmp_path / "chainops.toml").write_text("[plugins.gone]\n")
    listed = chainops(tmp_path, "plugin", "list")
    assert (listed.returncode, "gone is enabled, but not installed" in listed.stderr) == (0, True)
    assert chainops(tmp_path, "--help").returncode == 0


@pytest.mark.parametrize(
    ("scripts", "code", "match"),
    [
        (["CREATE TABLE other (x)"], "store.plugin_migration", "changes more than what is called mine_"),
        (["DROP TABLE score"], "store.plugin_migration", "not authorized|changes more than"),
        (["CREATE TABLE mine_a (x); CREATE TABLE mine_a (x)"], "store.plugin_migration", "already exists"),
        (["CREATE TABLE mine_a (x); COMMIT; CREATE TABLE mine_b (x)"], "store.plugin_migration", "not authorized"),
        (["CREATE TABLE mine_a (x); DELETE FROM score"], "store.plugin_migration", "not authorized"),
    ],
)
def test_a_migration_that_is_wrong_leaves_the_file_as_it_was(
    tmp_path: Path, scripts: list[str], code: str, match: str
) -> None:
    file = tmp_path / "trace.db"
    upgrade(file)
    with pytest.raises(StoreError, match=match) as caught:
        apply_migrations(file, "mine", scripts)
    assert caught.value.code == code
    with sqlite3.connect(file) as db:
        assert db.execute("SELECT count(*) FROM sqlite_master WHERE name LIKE 'mine%'").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM plugin_migration").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM sqlite_master WHERE name IN ('other', 'score')").fetchone() == (1,)


def test_migrations_are_applied_once_in_order_and_never_change(tmp_path: Path) -> None:
    file, first, second = tmp_path / "t.db", "CREATE TABLE mine_a (x);", "ALTER TABLE mine_a ADD COLUMN y;"
    assert apply_migrations(file, "mine", [first]) == (0, 1)
    assert apply_migrations(file, "mine", [first, second]) == (1, 2)
    assert apply_migrations(file, "mine", [first, second]) == (2, 2)
    with pytest.raises(StoreError, match="is not the one that was applied"):
        apply_migrations(file, "mine", [first + " ", second])
    with pytest.raises(StoreError, match="the installed version knows 1"):
        apply_migrations(file, "mine", [first])
