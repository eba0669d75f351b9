"""Spans arrive at a real receiver on loopback that parses them with OpenTelemetry's own message classes."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, MessagesState, StateGraph

from chainops import App, Middleware, SetupError
from chainops.store.reader import Reader
from chainops.testing import MiddlewareConformance, ScriptedModel, check_plugin
from chainops_otlp import Otlp, Sender, plugin
from chainops_otlp.send import _with_bytes

messages = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="needs opentelemetry-proto"
)


class Collector:
    """A receiver of OTLP over HTTP: parses what comes, answers as it is told to."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.requests: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.problems: list[Exception] = []
        self.answer: Any = lambda request: (200, b"{}", "application/json")
        self.lock = threading.Lock()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes, str]:
        try:
            assert path == "/v1/traces", path
            data = gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
            if headers["Content-Type"] == "application/x-protobuf":
                request = messages.ExportTraceServiceRequest.FromString(data)
            else:
                from google.protobuf.json_format import ParseDict

                request = ParseDict(_with_bytes(json.loads(data)), messages.ExportTraceServiceRequest())
        except Exception as error:
            self.problems.append(error)
            return 400, b"cannot be parsed", "text/plain"
        with self.lock:
            status, answer, kind = self.answer(request)
            self.headers.append(headers)
            if status == 200:
                self.requests.append(request)
                for resource in request.resource_spans:
                    for scope in resource.scope_spans:
                        self.spans += scope.spans
        return status, answer, kind


@pytest.fixture
def collector() -> Iterator[Any]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer, kind = found.take(self.path, dict(self.headers), body)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
    yield found
    server.shutdown()
    thread.join()
    server.server_close()
    assert found.problems == []


def app(tmp_path: Path, **options: Any) -> App:
    return App(
        pipeline={"middleware": ["trace", "otlp"]},
        plugins={"otlp": {"every_s": 0.02, **options}},
        trace={"path": str(tmp_path / "t.db")},
    )


async def run(application: App, times: int = 1) -> None:
    model = ScriptedModel(["A secret answer."] * times)

    async def answer(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"], temperature=0.5)]}

    builder = StateGraph(MessagesState)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    graph = application.instrument(builder.compile(name="shop"))
    for i in range(times):
        await graph.ainvoke({"messages": ["A secret question?"]}, {"configurable": {"thread_id": f"t{i}"}})


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def until(true: Any, problem: str) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline, problem
        time.sleep(0.005)


@pytest.mark.parametrize("protocol", ["http/json", "http/protobuf"])
@pytest.mark.parametrize("compress", [True, False])
async def test_spans_arrive_while_the_application_runs_in_both_vocabularies(
    tmp_path: Path, collector: Any, installed_plugin: Any, protocol: str, compress: bool
) -> None:
    options = {"endpoint": collector.url, "protocol": protocol, "compress": compress, "service": "shop"}
    with app(tmp_path, **options, headers={"x-key": "k1"}, resource={"deployment.environment": "test"}) as application:
        await run(application)
        until(lambda: len(collector.spans) == 3, "the spans do not arrive while the application runs")
    assert len(collector.spans) == 3, "closing sent them again"
    by_name = {span.name: span for span in collector.spans}
    assert set(by_name) == {"invoke_agent shop", "answer", "chat scripted"}
    model, node, root = by_name["chat scripted"], by_name["answer"], by_name["invoke_agent shop"]
    assert (model.parent_span_id, node.parent_span_id, root.parent_span_id) == (node.span_id, root.span_id, b"")
    assert len({span.trace_id for span in collector.spans}) == 1 and len(model.trace_id) == 16
    told = attributes(model)
    assert (told["gen_ai.operation.name"], told["openinference.span.kind"]) == ("chat", "LLM")
    assert told["gen_ai.usage.output_tokens"] == told["llm.token_count.completion"] == 3
    assert told["gen_ai.request.temperature"] == 0.5
    assert "A secret question?" in told["gen_ai.input.messages"]
    assert told["llm.output_messages.0.message.content"] == "A secret answer."
    with Reader(tmp_path / "t.db") as reader:
        stored = {span.id: span for span in reader.spans(reader.find_run("last").id)}
    for span in collector.spans:
        own = stored[int.from_bytes(span.span_id, "big")]
        assert (span.start_time_unix_nano, span.end_time_unix_nano) == (own.start_ns, own.end_ns)
    resource = {
        each.key: each.value.string_value for each in collector.requests[0].resource_spans[0].resource.attributes
    }
    assert resource == {"service.name": "shop", "deployment.environment": "test"}
    assert collector.headers[0]["X-Key"] == "k1"


async def test_without_content_no_word_of_it_leaves(tmp_path: Path, collector: Any, installed_plugin: Any) -> None:
    with app(tmp_path, endpoint=collector.url, content=False) as application:
        await run(application)
    assert len(collector.spans) == 3
    assert "secret" not in "".join(str(request) for request in collector.requests)


async def test_a_collector_that_is_away_gets_everything_once_it_is_back(
    tmp_path: Path, collector: Any, installed_plugin: Any
) -> None:
    asked = threading.Event()

    def busy(request: Any) -> Any:
        asked.set()
        return 503, b"", "text/plain"

    collector.answer = busy
    with app(tmp_path, endpoint=collector.url) as application:
        await run(application, 2)
        assert asked.wait(10)
    assert collector.spans == []
    collector.answer = lambda request: (200, b"", "application/json")
    with app(tmp_path, endpoint=collector.url) as application:
        await run(application)
    assert len({span.span_id for span in collector.spans}) == len(collector.spans) == 9


async def test_one_span_that_the_collector_cannot_take_keeps_no_other_back(
    tmp_path: Path, collector: Any, installed_plugin: Any
) -> None:
    def picky(request: Any) -> Any:
        names = [s.name for r in request.resource_spans for scope in r.scope_spans for s in scope.spans]
        return (400, b"no chat here", "text/plain") if "chat scripted" in names else (200, b"{}", "application/json")

    collector.answer = picky
    with app(tmp_path, endpoint=collector.url, every_s=60.0) as application:
        await run(application, 3)
        (layer,) = [layer for layer in application.pipeline.middleware if isinstance(layer, Otlp)]
    assert sorted(span.name for span in collector.spans) == ["answer"] * 3 + ["invoke_agent shop"] * 3
    assert (layer.sent, layer.rejected) == (6, 3)


async def test_what_the_collector_rejects_in_part_is_counted(
    tmp_path: Path, collector: Any, installed_plugin: Any
) -> None:
    collector.answer = lambda request: (200, b'{"partialSuccess": {"rejectedSpans": "2"}}', "application/json")
    with app(tmp_path, endpoint=collector.url, every_s=60.0) as application:
        await run(application)
        (layer,) = [layer for layer in application.pipeline.middleware if isinstance(layer, Otlp)]
    assert (layer.sent, layer.rejected) == (1, 2)


async def test_endpoint_and_secrets_come_from_the_variables_of_opentelemetry(
    tmp_path: Path, collector: Any, installed_plugin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url + "/")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret, x-key = k2")
    with app(tmp_path) as application:
        await run(application)
    assert len(collector.spans) == 3
    assert (collector.headers[0]["Authorization"], collector.headers[0]["X-Key"]) == ("Bearer s3cret", "k2")


@pytest.mark.parametrize("endpoint", ["localhost:4318", "ftp://x", "http://"])
def test_an_endpoint_that_is_no_url_is_a_clear_error(endpoint: str) -> None:
    with pytest.raises(SetupError, match="is no http URL"):
        plugin.build({"endpoint": endpoint})


class TestConformance(MiddlewareConformance):
    def make(self) -> Middleware:
        return Otlp(Sender("http://127.0.0.1:9/v1/traces", timeout_s=1))


async def test_everything_that_the_plugin_brings_passes_its_checks() -> None:
    assert [finding for finding in await check_plugin(plugin) if not finding.passed] == []
