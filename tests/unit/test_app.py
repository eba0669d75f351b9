from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel

from chainops import App, CallError, Middleware, SetupError
from chainops import plugin as plugins
from chainops.plugin import Plugin


class Options(BaseModel, extra="forbid"):
    tokens: int = 5


class Budget(Middleware):
    def __init__(self, tokens: int) -> None:
        self.tokens = tokens


BUDGET = Plugin(name="budget", options=Options, middleware=lambda options: [Budget(options.tokens)])
Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    def install(**offered: Any) -> None:
        def load(value: Any) -> Any:
            if isinstance(value, Exception):
                raise value
            return value

        points = {
            name: SimpleNamespace(name=name, value=f"{name}_package:plugin", load=lambda value=value: load(value))
            for name, value in offered.items()
        }
        monkeypatch.setattr(plugins.find, "installed_plugins", lambda: points)

    return install


def echo_graph() -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("echo", lambda state: {"messages": []})
    builder.add_edge(START, "echo")
    return builder.compile()


def test_an_app_traces_a_graph_by_settings_alone(tmp_path: Path) -> None:
    with App(trace={"path": str(tmp_path / "t.db")}) as app:
        app.instrument(echo_graph()).invoke({"messages": []})
        assert app.flush() == 2
    with sqlite3.connect(tmp_path / "t.db") as db:
        assert db.execute("SELECT kind, name FROM span ORDER BY kind DESC").fetchall() == [
            ("run", "LangGraph"),
            ("node", "echo"),
        ]


def test_an_enabled_plugin_brings_its_layer_with_checked_options(install: Install, tmp_path: Path) -> None:
    install(budget=BUDGET)
    app = App(pipeline={"middleware": ["trace", "budget"]}, plugins={"budget": {"tokens": 7}}, trace={"path": tmp_path})
    layer = app.pipeline.middleware[1]
    assert isinstance(layer, Budget)
    assert layer.tokens == 7


def test_installed_is_not_enabled(install: Install) -> None:
    install(budget=BUDGET)
    with pytest.raises(SetupError, match=r"a table \[plugins.budget\] enables it"):
        App(pipeline={"middleware": ["budget"]})


@pytest.mark.parametrize(
    ("offered", "settings", "match"),
    [
        ({"budget": BUDGET}, {"plugins": {"budgte": {}}}, "Did you mean 'budget'"),
        ({}, {"plugins": {"budget": {}}}, "Installed: none"),
        ({"budget": BUDGET}, {"plugins": {"budget": {"tokns": 1}}}, "Wrong options for plugin 'budget': tokns"),
        (
            {"budget": ImportError("no module x")},
            {"plugins": {"budget": {}}},
            "does not load: ImportError: no module x",
        ),
        ({"budget": "text"}, {"plugins": {"budget": {}}}, "is a str, not a chainops Plugin"),
        ({"budget": Plugin(name="budget", api=99)}, {"plugins": {"budget": {}}}, "speaks plugin API 99"),
        ({"budget": Plugin(name="budget")}, {"plugins": {"budget": {"a": 1}}}, "takes no options, got a"),
        ({"budget": BUDGET}, {"plugins": {"budget": {}}}, "is not in the pipeline"),
        (
            {"budget": Plugin(name="budget", middleware=lambda options: [1 / 0])},
            {"plugins": {"budget": {}}},
            "cannot make its middleware: ZeroDivisionError",
        ),
        (
            {"budget": Plugin(name="budget", middleware=lambda options: ["budget"])},
            {"plugins": {"budget": {}}},
            "made 'budget', which is not a Middleware",
        ),
        (
            {"budget": BUDGET},
            {"plugins": {"budget": {}}, "pipeline": {"middleware": ["bugdet"]}},
            "Did you mean 'budget'",
        ),
    ],
)
def test_a_plugin_that_does_not_fit_is_a_clear_error(
    install: Install, offered: dict[str, Any], settings: dict[str, Any], match: str
) -> None:
    install(**offered)
    with pytest.raises(SetupError, match=match):
        App(**{"pipeline": {"middleware": []}, **settings})


async def test_run_sync_refuses_inside_a_running_loop() -> None:
    async def work() -> int:
        return 1

    app = App(pipeline={"middleware": []})
    with pytest.raises(CallError, match="Await the coroutine instead"):
        app.run_sync(work())


def test_run_sync_runs_a_coroutine_from_synchronous_code() -> None:
    async def work() -> int:
        return 1

    assert App(pipeline={"middleware": []}).run_sync(work()) == 1
