"""Alerts arrive at a real server on loopback, signed, once each, also when it was away."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph

from chainops import App, Blocked, Middleware, SetupError
from chainops.testing import MiddlewareConformance, ScriptedModel, check_plugin
from chainops_alert_hook import AlertHook, Bounds, Hook, plugin, sign, verify

KEY = "a key of the test"


class Receiver:
    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        self.deliveries: list[str] = []
        self.tries = 0
        self.status: Any = lambda alert: 200
        self.genuine: list[bool] = []


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    found = Receiver()
    monkeypatch.setenv("ALERT_KEY", KEY)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = found.status(json.loads(body))
            found.tries += 1
            if status == 200:
                found.alerts.append(json.loads(body))
                found.deliveries.append(self.headers["X-Chainops-Delivery"])
                found.genuine.append(verify(KEY, body, self.headers.get("X-Chainops-Signature", "")))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/hook"  # type: ignore[attr-defined]
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


class Judge(Middleware):
    """Scores every node, as a rail or an evaluation would."""

    name = "judge"
    suspends = False

    async def wrap_node_call(self, call: Any, call_next: Any) -> Any:
        result = await call_next(call)
        if call.kind == "node":
            call.recorder.score("faithful", 0.2, source="model", comment="a secret comment")
            call.recorder.score("polite", 0.9, source="model")
        return result


def app(tmp_path: Path, receiver: Any, **options: Any) -> App:
    given = {"url": receiver.url, "secret_env": "ALERT_KEY", "every_s": 0.02, **options}
    return App(
        pipeline={"middleware": ["trace", "alert_hook"]},
        plugins={"alert_hook": given},
        trace={"path": str(tmp_path / "t.db")},
    )


async def run(application: App, node: Any, *layers: Middleware) -> None:
    from chainops import instrument

    builder = StateGraph(MessagesState)
    builder.add_node("work", node)
    builder.add_edge(START, "work")
    graph = instrument(builder.compile(name="shop"), [*application.pipeline.middleware, *layers])
    await graph.ainvoke({"messages": []}, {"configurable": {"thread_id": "t1"}})


async def fine(state: MessagesState) -> Any:
    return {"messages": []}


async def fails(state: MessagesState) -> Any:
    raise ValueError("a secret of a user")


async def refuses(state: MessagesState) -> Any:
    raise Blocked("no", code="mine.no")


async def attempt(application: App, node: Any, *layers: Middleware) -> None:
    with pytest.raises((ValueError, Blocked)):
        await run(application, node, *layers)


async def test_a_run_that_fails_is_one_signed_alert_without_what_users_wrote(
    tmp_path: Path, receiver: Any, installed_plugin: Any
) -> None:
    with app(tmp_path, receiver) as application:
        await run(application, fine)
        await attempt(application, fails)
        await attempt(application, refuses)
    (alert,) = receiver.alerts
    assert receiver.genuine == [True]
    assert (alert["event"], alert["graph"], alert["thread"], alert["error"]) == ("error", "shop", "t1", "ValueError")
    assert alert["id"] == receiver.deliveries[0]
    assert "secret" not in json.dumps(alert)


async def test_texts_and_refusals_are_sent_where_they_are_asked_for(
    tmp_path: Path, receiver: Any, installed_plugin: Any
) -> None:
    with app(tmp_path, receiver, text=True, events=["error", "blocked"]) as application:
        await attempt(application, fails)
        await attempt(application, refuses)
    assert [(a["event"], a["message"]) for a in receiver.alerts] == [
        ("error", "a secret of a user"),
        ("blocked", "no"),
    ]


async def test_a_score_out_of_bounds_is_an_alert_with_its_value(
    tmp_path: Path, receiver: Any, installed_plugin: Any
) -> None:
    bounds = [{"name": "faith*", "below": 0.5}, {"name": "polite", "above": 0.95}]
    with app(tmp_path, receiver, scores=bounds) as application:
        await run(application, fine, Judge())
    (alert,) = receiver.alerts
    assert (alert["event"], alert["score"], alert["value"], alert["node"]) == ("score", "faithful", 0.2, "work")
    assert "comment" not in alert


async def test_a_spent_budget_is_an_alert_that_names_it(tmp_path: Path, receiver: Any, installed_plugin: Any) -> None:
    model = ScriptedModel(["one"] * 5)

    async def ask(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke("hi")]}

    application = App(
        pipeline={"middleware": ["trace", "alert_hook", "budgets", "cost"]},
        plugins={"alert_hook": {"url": receiver.url, "secret_env": "ALERT_KEY"}},
        trace={"path": str(tmp_path / "t.db")},
        budgets={
            "path": str(tmp_path / "budgets.db"),
            "estimate": "0.01",
            "rules": [{"per": ["user"], "period": "day", "hard": "0.001"}],
        },
    )
    with application:
        await attempt(application, ask)
    (alert,) = receiver.alerts
    assert (alert["event"], alert["error"]) == ("budget", "LimitExceeded")
    assert "user" in alert["budget"]


async def test_the_same_alert_is_not_sent_again_at_once_and_the_next_says_how_many_were_left_out(
    tmp_path: Path, receiver: Any
) -> None:
    from chainops.middleware.trace import Trace

    now = [0.0]
    layer = AlertHook(Hook(receiver.url), quiet_s=60, every_s=0.02, clock=lambda: now[0])
    trace = Trace(tmp_path / "t.db")
    application: Any = App(pipeline={"middleware": []})
    for _ in range(3):
        await attempt(application, fails, trace, layer)
    layer.close()
    now[0] = 61.0
    await attempt(application, fails, trace, layer)
    layer.close()
    trace.close()
    assert [alert["left_out"] for alert in receiver.alerts] == [0, 2]


async def test_an_alert_comes_once_the_receiver_is_back_and_those_before_it_do_not_come_twice(
    tmp_path: Path, receiver: Any, installed_plugin: Any
) -> None:
    receiver.status = lambda alert: 200 if alert["score"] == "faithful" or receiver.tries > 2 else 503
    bounds = [{"name": "faithful", "below": 0.5}, {"name": "polite", "above": 0.5}]
    with app(tmp_path, receiver, scores=bounds) as application:
        await run(application, fine, Judge())
        deadline = time.monotonic() + 10
        while len(receiver.alerts) < 2:
            assert time.monotonic() < deadline, "the alert was not tried again"
            time.sleep(0.01)
    assert [alert["score"] for alert in receiver.alerts] == ["faithful", "polite"]


@pytest.mark.parametrize("status", [400, 404, 302])
async def test_an_alert_that_nobody_takes_is_given_up_and_follows_no_redirect(
    tmp_path: Path, receiver: Any, installed_plugin: Any, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = lambda alert: status
    with app(tmp_path, receiver) as application:
        await attempt(application, fails)
    assert receiver.tries == 1
    assert f"is given up: {receiver.url} answered {status}" in caplog.text


def test_a_signature_fits_its_body_its_key_and_its_time_only() -> None:
    good = sign("k", b"body", 1000)
    assert verify("k", b"body", good, now=1100)
    assert not verify("k", b"other", good, now=1100)
    assert not verify("other", b"body", good, now=1100)
    assert not verify("k", b"body", good, now=2000)
    assert not verify("k", b"body", good.replace("t=1000", "t=1001"), now=1100)
    for broken in ("", "t=,v1=", "nonsense", "t=x,v1=y", "v1=abc", "t=1000,v1=ä"):
        assert not verify("k", b"body", broken, now=1000)


def test_a_key_that_is_not_set_and_a_url_that_is_none_are_clear_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALERT_KEY", raising=False)
    with pytest.raises(SetupError, match="ALERT_KEY, which is not set"):
        plugin.build({"url": "http://x", "secret_env": "ALERT_KEY"})
    with pytest.raises(SetupError, match="is no http URL"):
        plugin.build({"url": "x"})


def test_text_is_in_no_bounds() -> None:
    from chainops.store.reader import ScoreRow

    said = ScoreRow(1, 1, "grade", None, "bad", "human", "", 0)
    assert not Bounds("*", below=1.0, above=0.0).broken_by(said)


class TestConformance(MiddlewareConformance):
    def make(self) -> Middleware:
        return AlertHook(Hook("http://127.0.0.1:9"))


async def test_everything_that_the_plugin_brings_passes_its_checks() -> None:
    found = await check_plugin(plugin, {"url": "http://127.0.0.1:9"})
    assert [finding for finding in found if not finding.passed] == []
