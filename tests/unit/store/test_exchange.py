"""Traces of other systems in, and out to them: nothing of a run is lost on the way there and back."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph

from chainops import Middleware, SetupError, instrument
from chainops.middleware.trace import Trace
from chainops.store.exchange import FORMS, export_as, import_traces
from chainops.store.exchange.messages import from_any, to_openai
from chainops.store.exchange.record import collect, iso, nanoseconds
from chainops.store.export import chosen_runs
from chainops.store.reader import Reader
from chainops.testing import RecordedTrace, ScriptedModel

DATA = Path(__file__).resolve().parents[2] / "data" / "traces"


@tool
def look(word: str) -> str:
    """Look a word up."""
    if word == "bad":
        raise ValueError("no such word")
    return f"found {word}"


class Note(Middleware):
    async def wrap_model_call(self, call: Any, call_next: Any) -> Any:
        result = await call_next(call)
        call.annotate("note", words=["a", 1])
        call.artifact("prompt", "answer", "3")
        call.recorder.score("good", 0.5, source="model")
        call.recorder.score("tone", "kind", source="model")
        return result


def asks(word: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": "look", "args": {"word": word}, "id": "c1"}])


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a run that went well, and one whose tool failed."""
    file = tmp_path_factory.mktemp("recorded") / "t.db"
    model = ScriptedModel([asks("tea"), asks("bad")])

    def node(state: MessagesState) -> Any:
        answer = model.invoke(state["messages"])
        return {"messages": [answer, *(look.invoke({**c, "type": "tool_call"}) for c in answer.tool_calls)]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", node)
    builder.add_edge(START, "ask")
    trace = Trace(file)
    graph: Any = instrument(builder.compile(name="helper"), [trace, Note()])
    config = {"configurable": {"thread_id": "t1"}, "tags": ["x"], "metadata": {"user": "u1"}}
    graph.invoke({"messages": ["What is it?"]}, config)
    with pytest.raises(ValueError, match="no such word"):
        graph.invoke({"messages": ["And this?"]}, config)
    trace.close()
    return file


def written(form: str, db: Path, out: Path, **options: Any) -> Path:
    text = StringIO()
    with Reader(db) as reader:
        export_as(form, reader, chosen_runs(reader), text, **options)
    out.write_text(text.getvalue(), encoding="utf-8")
    return out


def plain(db: Path) -> list[Any]:
    """Everything about the runs of a file that does not depend on the file."""
    runs = []
    with Reader(db) as reader:
        for row in chosen_runs(reader):
            trace = collect(reader, row)
            names = {span.id: i for i, span in enumerate(trace.spans)}
            spans = [
                {
                    **{name: getattr(span, name) for name in span.__dataclass_fields__ if name not in ("id", "parent")},
                    "parent": None if span.parent is None else names[span.parent],
                }
                for span in trace.spans
            ]
            head = (trace.run_id, trace.graph, trace.thread, trace.tags, trace.metadata)
            status = (row.status, row.spans, row.errors, row.tokens_in, row.tokens_out, row.first_error)
            runs.append((head, status, spans))
    return runs


@pytest.mark.parametrize("form", FORMS)
def test_a_run_comes_back_from_every_form_as_it_was(form: str, recorded: Path, tmp_path: Path) -> None:
    file = written(form, recorded, tmp_path / "out.jsonl")
    report = import_traces(file, tmp_path / "back.db")
    assert (report.form, report.runs, report.spans, report.known) == (form, 2, 8, 0)
    before, after = plain(recorded), plain(tmp_path / "back.db")
    for (head, status, spans), (head_back, status_back, spans_back) in zip(before, after, strict=True):
        assert head_back == head
        assert status_back == status
        for span, back in zip(spans, spans_back, strict=True):
            if span["kind"] == "model":  # what is no part of a message in other systems is not in their files
                span = {**span, "input": from_any(to_openai(span["input"])), "output": _of(span["output"])}
            assert back == span
    assert import_traces(file, tmp_path / "back.db").known == 2
    assert len(plain(tmp_path / "back.db")) == 2


def _of(message: Any) -> Any:
    messages = from_any(to_openai(message))
    assert messages is not None
    return messages[0]


def test_scores_go_to_langfuse_and_come_back(recorded: Path, tmp_path: Path) -> None:
    assert import_traces(written("langfuse", recorded, tmp_path / "x"), tmp_path / "back.db").scores == 4
    with sqlite3.connect(tmp_path / "back.db") as db:
        rows = db.execute("SELECT name, value, label FROM score ORDER BY name, span").fetchall()
    assert rows == [("good", 0.5, None), ("good", 0.5, None), ("tone", None, "kind"), ("tone", None, "kind")]


@pytest.mark.parametrize("form", FORMS)
def test_without_content_no_input_and_no_output_leaves(form: str, recorded: Path, tmp_path: Path) -> None:
    text = written(form, recorded, tmp_path / "x", content=False).read_text()
    assert "tea" not in text and "What is it" not in text
    assert import_traces(tmp_path / "x", tmp_path / "back.db").spans == 8


@pytest.fixture
def langsmith_server() -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """A server on this machine that takes what LangSmith's client sends, and the runs that it got by id."""
    runs: dict[str, dict[str, Any]] = {}

    class Takes(BaseHTTPRequestHandler):
        def take(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            run_id = body.get("id") or self.path.rpartition("/")[2]
            runs.setdefault(run_id, {"id": run_id}).update({k: v for k, v in body.items() if v is not None})
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_POST = do_PATCH = take

        def log_message(self, *args: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Takes)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", runs
    server.shutdown()
    server.server_close()


def test_what_langchain_itself_sends_to_langsmith_is_read(langsmith_server: Any, tmp_path: Path) -> None:
    from langchain_core.prompts import ChatPromptTemplate
    from langchain_core.tracers import LangChainTracer
    from langsmith import Client

    url, runs = langsmith_server
    client = Client(api_url=url, api_key="none", auto_batch_tracing=False)
    tracer = LangChainTracer(client=client, project_name="p")
    chain = ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{q}")]) | ScriptedModel(["A drink."])
    chain.invoke({"q": "What is tea?"}, {"callbacks": [tracer], "metadata": {"thread_id": "t7"}})
    client.close()
    assert len(runs) == 3
    (tmp_path / "x.json").write_text(json.dumps({"runs": list(runs.values())}))
    assert import_traces(tmp_path / "x.json", tmp_path / "t.db").form == "langsmith"
    trace = RecordedTrace(tmp_path / "t.db")
    model = trace.assert_span("model", "ScriptedModel", model="scripted")
    assert [(m["type"], m["content"]) for m in model.input] == [("system", "Be brief."), ("human", "What is tea?")]
    assert model.output["content"] == "A drink."
    assert (model.tokens_in, model.tokens_out) == (5, 2)
    assert trace.assert_span("run", "RunnableSequence").status == "ok"
    with Reader(tmp_path / "t.db") as reader:
        assert reader.runs()[0].thread == "t7"


def test_langsmiths_own_schema_takes_what_is_written_for_it(recorded: Path, tmp_path: Path) -> None:
    from langsmith.schemas import Run

    runs = [Run(**json.loads(line)) for line in written("langsmith", recorded, tmp_path / "x").read_text().splitlines()]
    roots = [run for run in runs if run.parent_run_id is None]
    assert len(roots) == 2
    for run in runs:
        assert run.trace_id in {root.id for root in roots}
        assert (run.dotted_order or "").endswith(str(run.id))
    assert {run.run_type for run in runs} == {"chain", "llm", "tool"}
    assert [run.error for run in runs if run.run_type == "tool"] == [None, "ValueError: no such word"]


def test_a_trace_that_mlflow_made_is_read(tmp_path: Path) -> None:
    import_traces(DATA / "mlflow.json", tmp_path / "t.db")
    trace = RecordedTrace(tmp_path / "t.db")
    model = trace.assert_span("model", "chat", tokens_in=3, tokens_out=1)
    assert model.input == [{"type": "human", "content": "hi"}]
    assert model.output == {"type": "ai", "content": "hello"}
    run = trace.assert_span("run", "agent", output="hello")
    assert model.parent == run.id


def test_observations_of_langfuse_are_read(tmp_path: Path) -> None:
    report = import_traces(DATA / "langfuse_observations.jsonl", tmp_path / "t.db")
    assert (report.form, report.runs, report.spans) == ("langfuse", 1, 3)
    trace = RecordedTrace(tmp_path / "t.db")
    model = trace.assert_span("model", "answer", model="gpt-x", tokens_in=12, tokens_out=3)
    assert [m["type"] for m in model.input] == ["system", "human"]
    assert (model.output["content"], model.duration_ms) == ("hello", 1900.0)
    assert trace.assert_span("tool", "look", status="error").error == "ValueError: no such word"
    with Reader(tmp_path / "t.db") as reader:
        assert reader.runs()[0].thread == "s1"


def test_columns_of_phoenix_are_read(tmp_path: Path) -> None:
    import_traces(DATA / "phoenix_columns.json", tmp_path / "t.db")
    model = RecordedTrace(tmp_path / "t.db").assert_span("model", "ChatCompletion", tokens_in=12)
    assert model.input == [{"type": "human", "content": "hi"}]
    assert model.output["tool_calls"] == [{"name": "look", "args": {"word": "tea"}, "id": "c1"}]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "cannot be read"),
        ("no json", "is no JSON in line 1"),
        ("[]", "holds no records"),
        ("[1]", "holds no records"),
        ('{"a": 1}', "none of these forms: langsmith, langfuse, phoenix, mlflow"),
        ('{"run_type": "llm", "start_time": "yesterday", "id": "1", "name": "x"}', "not as langsmith writes it"),
        ('{"info": {}, "data": {"spans": [{}]}}', "not as mlflow writes it"),
        ('{"traceId": "1", "startTime": 5}', "not as langfuse writes it"),
        ('{"context": {}, "start_time": "x"}', "not as phoenix writes it"),
    ],
)
def test_a_file_that_is_wrong_is_a_clear_error_and_stores_nothing(
    tmp_path: Path, content: str | None, match: str
) -> None:
    if content is not None:
        (tmp_path / "x").write_text(content)
    with pytest.raises(SetupError, match=match) as caught:
        import_traces(tmp_path / "x", tmp_path / "t.db")
    assert caught.value.code == "setup.trace_import"
    assert not (tmp_path / "t.db").exists()


def test_a_form_that_there_is_not_is_answered_with_the_nearest() -> None:
    with pytest.raises(SetupError, match="Did you mean 'langsmith'"):
        export_as("langsmit", None, [], StringIO())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:01Z", 10**9),
        ("1970-01-01T00:00:01.000002", 10**9 + 2000),
        ("1970-01-01 01:00:01+01:00", 10**9),
        (1_795_249_029, 1_795_249_029 * 10**9),
        (1_795_249_029_390, 1_795_249_029_390 * 10**6),
        (1_795_249_029_390_471_491, 1_795_249_029_390_471_491),
        (None, None),
    ],
)
def test_times_are_read_in_every_way_that_they_are_written(text: Any, ns: int | None) -> None:
    assert nanoseconds(text) == ns
    if isinstance(ns, int):
        assert nanoseconds(iso(ns)) == ns // 1000 * 1000
