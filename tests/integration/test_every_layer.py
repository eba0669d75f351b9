"""All built-in layers at once, from a settings file, around the support desk on the real small model."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

import chainops
from chainops import App
from chainops.app.layers import BUILT_IN
from chainops.errors import MissingExtra, SetupError

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
LAYERS = [
    "trace", "chain", "limits", "budgets", "prompts", "memory", "compress", "rails", "pii", "semantic_cache", "cache",
    "route", "retry", "cost",
]  # fmt: skip
MAIL = "jane.roe@corp.example"


@pytest.fixture(scope="module")
def desk() -> Any:
    sys.path.insert(0, str(RECIPES / "support_desk"))
    try:
        import app  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
        sys.modules.pop("app", None)
    return app


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    monkeypatch.chdir(tmp_path)
    key = base64.b64encode(bytes(range(32))).decode()
    (tmp_path / "chainops.toml").write_text(
        f"""
[pipeline]
middleware = {json.dumps(LAYERS)}
[trace]
path = "t.db"
[rails]
deny = ["xyzzy"]
egress = true
[pii]
vault = "vault.db"
key = "{key}"
[semantic_cache]
mode = "off"
[limits]
rules = [{{ name = "all", requests = 10000, per = ["user"] }}]
[budgets]
rules = [{{ per = ["user"], hard = "1" }}]
[route.models.small]
file = "{RECIPES / "tiny_model" / "support-desk-tiny.gguf"}"
options = {{ temperature = 0.0 }}
[route.aliases.desk]
deployments = ["small"]
"""
    )
    try:
        made = App("chainops.toml")
    except (MissingExtra, SetupError) as error:
        if isinstance(error, SetupError) and error.code != "setup.embedder_missing":
            raise
        pytest.skip(f"not run: {error}")
    with made:
        yield made


def asked(question: str) -> dict[str, Any]:
    return {"messages": [("user", question)]}


def config(thread: str, user: str = "u") -> dict[str, Any]:
    return {"configurable": {"thread_id": thread}, "metadata": {"user": user, "tenant": "t"}}


def test_every_built_in_layer_is_in_this_test() -> None:
    assert sorted(LAYERS) == sorted(BUILT_IN)


def test_a_graph_answers_the_same_with_every_layer_around_it(app: App, desk: Any, tmp_path: Path) -> None:
    graph = app.instrument(desk.graph(chainops.model("desk"), desk.make_orders(tmp_path / "o.db"), InMemorySaver()))

    async def go() -> None:
        out = await graph.ainvoke(asked("Where is my order 67-26?"), config("1"))
        assert out["messages"][-1].text == "Order 67-26 is shipped: camera to Oslo on Monday."
        streamed = []
        async for part, _ in graph.astream(asked("Where is my order 41-83?"), config("2"), stream_mode="messages"):
            streamed.append(part.text)
        assert streamed[-1] or "".join(streamed)
        assert "Order 41-83 was delivered: headset to Vienna on Friday." in "".join(streamed)
        # an interrupt passes through all of them, and is answered once
        waiting = await graph.ainvoke(asked("I want a refund for order 90-12, please."), config("3"))
        assert "__interrupt__" in waiting
        done = await graph.ainvoke(Command(resume="yes"), config("3"))
        assert "__interrupt__" not in done and done["messages"][-1].text
        # many at once, each with its own answer
        orders = {row[0]: row[1] for row in desk.ORDERS}
        numbers = [list(orders)[n % len(orders)] for n in range(24)]
        outs = await asyncio.gather(
            *[
                graph.ainvoke(asked(f"Where is my order {number}?"), config(f"m{n}", f"u{n % 3}"))
                for n, number in enumerate(numbers)
            ]
        )
        for number, one in zip(numbers, outs, strict=True):
            assert number in one["messages"][-1].text and orders[number] in one["messages"][-1].text

    app.run_sync(go())
    with closing(sqlite3.connect(tmp_path / "o.db")) as db:
        assert db.execute("SELECT order_id, amount FROM refunds").fetchall() == [("90-12", 72)]
    app.trace.flush()  # type: ignore[union-attr]
    with closing(sqlite3.connect(tmp_path / "t.db")) as db:
        notes = [json.loads(a or "{}") for (a,) in db.execute("SELECT attributes FROM span WHERE kind = 'model'")]
        runs = [json.loads(a or "{}") for (a,) in db.execute("SELECT attributes FROM span WHERE kind = 'run'")]
        assert db.execute("SELECT count(*) FROM span WHERE status = 'open'").fetchone() == (0,)
    assert {"limits", "budgets", "cache"} <= set(notes[0])
    assert any("route" in n and "cost" in n for n in notes)
    hits = [n for n in notes if n["cache"].get("kind")]
    assert hits and all("route" not in n for n in hits)  # an answer from the cache asks no model
    assert all(run["chain"] == runs[0]["chain"] for run in runs)


def test_what_is_refused_and_what_is_personal_reaches_no_file(app: App, desk: Any, tmp_path: Path) -> None:
    graph = app.instrument(desk.graph(chainops.model("desk"), desk.make_orders(tmp_path / "o.db"), InMemorySaver()))

    async def go() -> Any:
        with pytest.raises(chainops.errors.ChainopsError, match="deny"):
            await graph.ainvoke(asked("tell me xyzzy"), config("1"))
        return await graph.ainvoke(asked(f"How much is shipping? My mail is {MAIL}."), config("2"))

    out = app.run_sync(go())
    assert MAIL in out["messages"][0].text  # for the person it stands there
    app.close()
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "chainops.toml"]
    assert {"t.db", "vault.db"} <= {path.name for path in files}
    assert [path.name for path in files if MAIL.encode() in path.read_bytes()] == []
