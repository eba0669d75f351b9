import io
import json
import random
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from rich.console import Console

from chainops.cli import db as db_commands
from chainops.cli.trace import app, render_trace
from chainops.errors import CallError, SetupError, StoreError
from chainops.store.reader import Reader

RUN = "0198aaaa-0000-7000-8000-000000000001"


def test_list_shows_the_newest_run_first_with_its_sums(store, cli):
    store.example()
    store.span(store.run("0198bbbb-0000-7000-8000-000000000002", graph="other"), kind="run", name="other")
    store.writer.flush()
    rows = json.loads(cli(app, "list", "--json").stdout)
    assert [row["graph"] for row in rows] == ["other", "shop"]
    shop = rows[1]
    assert (shop["run_id"], shop["thread"], shop["status"], shop["spans"]) == (RUN, "t1", "ok", 5)
    assert (shop["errors"], shop["model_calls"], shop["tool_calls"]) == (1, 1, 1)
    assert (shop["tokens_in"], shop["tokens_out"], shop["tokens_cached"]) == (12, 4, 8)
    assert (shop["first_error"], shop["metadata"], shop["tags"]) == ("ValueError in bill", {"user": "u7"}, ["blue"])
    assert shop["duration_ms"] == pytest.approx(40, abs=10)
    text = cli(app, "list").stdout
    assert text.index("other") < text.index("shop")
    assert "12+4" in text


def test_list_filters_by_graph_thread_and_status(store, cli):
    store.example()
    store.span(store.run("b", graph="other"), kind="run", name="other", status="error", error_type="E")
    store.writer.flush()
    for words, expected in (
        (["--graph", "other"], ["b"]),
        (["--thread", "t1"], [RUN]),
        (["--status", "error"], ["b"]),
        (["--limit", "1"], ["b"]),
        (["--graph", "none"], []),
    ):
        rows = json.loads(cli(app, "list", "--json", *words).stdout)
        assert [row["run_id"] for row in rows] == expected


def test_show_draws_the_tree_with_tokens_first_token_errors_hints_scores_and_what_is_off(store, cli):
    store.example()
    text = cli(app, "show", "0198aaaa").stdout
    lines = {
        word: line for line in text.splitlines() for word in ("answer", "tiny-1", "lookup", "bill") if word in line
    }
    assert "12 (8 cached) → 4 tokens" in lines["tiny-1"]
    assert "first after 2.0 ms" in lines["tiny-1"]
    assert "off: rails" in lines["answer"]
    assert "ValueError: no price for article 9" in lines["bill"]
    assert "hint: Add the price." in text
    assert "score helpful = 0.9 (human) nice" in text
    depth = {word: line.index("── ") for word, line in lines.items()}
    assert depth["answer"] == depth["bill"] < depth["tiny-1"] == depth["lookup"]


def test_show_svg_is_a_picture_that_asks_no_server_for_anything(store, cli, tmp_path):
    import xml.etree.ElementTree as ElementTree

    store.example()
    store.writer.flush()
    out = tmp_path / "t.svg"
    assert cli(app, "show", "--svg", str(out)).stdout == ""
    text = out.read_text()
    shown = "".join(ElementTree.fromstring(text).itertext()).replace("\xa0", " ")
    assert "node bill" in shown
    assert "url(" not in text.replace("url(#", "")
    assert cli(app, "show", "--svg", "-").stdout == text


def test_show_json_has_every_span_with_decoded_content(store, cli):
    ids = store.example()
    shown = json.loads(cli(app, "show", "last", "--json").stdout)
    spans = {span["id"]: span for span in shown["tree"]}
    assert spans[ids["lookup"]]["parent"] == ids["answer"]
    assert spans[ids["lookup"]]["input"] == {"order": 17}
    assert spans[ids["tiny"]]["artifacts"] == [{"kind": "prompt", "name": "greeting", "version": "3"}]
    assert shown["scores"][0]["span"] == ids["tiny"]


def test_show_content_prints_inputs_and_outputs(store, cli):
    store.example()
    assert 'in: {"order":17}' in cli(app, "show", "last", "--content").stdout
    assert "order" not in cli(app, "show", "last").stdout


def test_render_trace_is_what_a_program_prints(store, path):
    store.example()
    console = Console(record=True, width=200, file=io.StringIO())
    console.print(render_trace("last", path))
    assert "lookup" in console.export_text()


@pytest.mark.parametrize(
    ("wanted", "code"), [("nope", "store.unknown_run"), ("0198", "store.ambiguous_run"), ("", "store.unknown_run")]
)
def test_an_id_that_fits_no_run_or_several_is_a_clear_error(store, cli, wanted, code):
    store.example()
    store.span(store.run("0198bbbb"))
    store.writer.flush()
    with pytest.raises(StoreError) as caught:
        cli(app, "show", wanted)
    assert caught.value.code == code
    assert caught.value.hint


COMMANDS = [
    ["list"],
    ["show"],
    ["search", "x"],
    ["export", "--jsonl", "-"],
    ["prune", "--days", "1"],
    ["tail", "--for", "0"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("content", "code"), [(None, "store.missing"), (b"", "store.empty"), (b"junk" * 500, "store.broken")]
)
def test_every_command_says_in_one_line_what_is_wrong_with_the_file(cli, path, words, content, code):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        cli(app, *words)
    assert caught.value.code == code
    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert (path.read_bytes() if content is not None else None) == content


@pytest.mark.parametrize("words", [["list"], ["show"], ["export", "--jsonl", "-"]], ids=lambda words: words[0])
def test_a_file_without_runs_is_said_to_be_empty(cli, words):
    cli(db_commands.app, "upgrade")
    with pytest.raises(StoreError) as caught:
        cli(app, *words)
    assert caught.value.code == "store.empty"


def test_search_finds_words_in_input_output_error_and_name_newest_first(store, cli):
    ids = store.example()
    for query, expected in (
        ("order", {"run", "tiny", "lookup"}),
        ("shipped", {"lookup"}),
        ("price article", {"bill"}),
        ('"article 9"', {"bill"}),
        ('"9 article"', set()),
        ("ship*", {"lookup"}),
        ("lookup", {"lookup"}),
        ("ship", set()),
    ):
        hits = json.loads(cli(app, "search", query, "--json").stdout)
        assert {hit["id"] for hit in hits} == {ids[name] for name in expected}, query
        starts = [hit["start_ns"] for hit in hits]
        assert starts == sorted(starts, reverse=True)
    assert "no price for article 9" in cli(app, "search", "article").stdout


@pytest.mark.parametrize("query", ["a-b:c", 'x"y', "AND", "NEAR(", "it's", "col:x*", "é"])
def test_no_query_is_a_syntax_error(store, cli, query):
    store.span(store.run("r"), input={"text": f"before {query} after"})
    store.writer.flush()
    hits = json.loads(cli(app, "search", query, "--json").stdout)
    assert len(hits) == 1


def test_a_query_without_a_word_is_refused(store, cli):
    store.example()
    with pytest.raises(StoreError) as caught:
        cli(app, "search", "(*)")
    assert caught.value.code == "store.query"


def test_search_finds_what_open_runs_hold_and_what_came_after_the_last_search(store, cli):
    store.example()
    assert json.loads(cli(app, "search", "zebra", "--json").stdout) == []
    run = store.run("open")
    root = store.span(run, kind="run", name="g", input={"animal": "zebra"}, status="open")
    store.writer.flush()
    assert len(json.loads(cli(app, "search", "zebra", "--json").stdout)) == 1
    store.end(root, output={"animal": "giraffe"})
    store.writer.flush()
    assert len(json.loads(cli(app, "search", "zebra giraffe", "--json").stdout)) == 1
    late = store.span(run, name="late", input={"animal": "okapi"})
    store.writer.flush()
    hits = json.loads(cli(app, "search", "okapi", "--json").stdout)
    assert [hit["id"] for hit in hits] == [late.id]


def test_tail_reports_open_spans_and_then_their_end(store, cli, path):
    from chainops.store.tail import Tail

    store.example()
    with Reader(path) as reader:
        tail = Tail(reader)
        assert list(tail.poll()) == []
        run = store.run("live")
        root = store.span(run, kind="run", name="g", status="open")
        store.writer.flush()
        assert [(s.name, s.status) for _, s in tail.poll()] == [("g", "open")]
        store.span(run, root, name="quick")
        store.writer.flush()
        assert [(s.name, s.status) for _, s in tail.poll()] == [("quick", "ok")]
        store.end(root)
        store.writer.flush()
        assert [(s.name, s.status) for _, s in tail.poll()] == [("g", "ok")]
        assert list(tail.poll()) == []


def test_tail_from_the_start_prints_one_json_object_per_line(store, cli):
    store.example()
    lines = cli(app, "tail", "--from-start", "--for", "0", "--json").stdout.splitlines()
    spans = [json.loads(line) for line in lines]
    assert {span["name"] for span in spans} == {"shop", "answer", "tiny", "lookup", "bill"}
    assert {span["run_id"] for span in spans} == {RUN}


def test_jsonl_speaks_both_vocabularies(store, cli):
    ids = store.example()
    lines = cli(app, "export", "--jsonl", "-").stdout.splitlines()
    spans = {int(span["span_id"], 16): span for span in map(json.loads, lines)}
    assert {span["trace_id"] for span in spans.values()} == {RUN.replace("-", "")}
    model = spans[ids["tiny"]]
    assert model["name"] == "chat tiny-1"
    assert model["parent_span_id"] == f"{ids['answer']:016x}"
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "llama.cpp",
        "gen_ai.request.model": "tiny",
        "gen_ai.response.model": "tiny-1",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.stop_sequences": ["END"],
        "gen_ai.request.stream": True,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": 0.002,
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 4,
        "gen_ai.usage.cache_read.input_tokens": 8,
        "gen_ai.conversation.id": "t1",
        "openinference.span.kind": "LLM",
        "llm.model_name": "tiny-1",
        "llm.token_count.prompt": 12,
        "llm.token_count.completion": 4,
        "llm.token_count.total": 16,
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": "where is order 17?",
        "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "f",
        "session.id": "t1",
        "chainops.cache": '{"hit":false}',
    }
    assert {name: model["attributes"].get(name) for name in expected} == expected
    assert json.loads(model["attributes"]["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "text", "content": "On its way."},
                {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"x": 1}},
            ],
        }
    ]
    tool = spans[ids["lookup"]]["attributes"]
    assert (tool["gen_ai.operation.name"], tool["gen_ai.tool.name"], tool["gen_ai.tool.call.id"]) == (
        "execute_tool",
        "lookup",
        "c1",
    )
    assert (tool["openinference.span.kind"], tool["output.value"]) == ("TOOL", "shipped")
    run = spans[ids["run"]]["attributes"]
    assert (run["openinference.span.kind"], run["user.id"], run["tag.tags"]) == ("AGENT", "u7", ["blue"])
    assert spans[ids["bill"]]["attributes"]["error.type"] == "ValueError"


def test_export_without_content_holds_no_content(store, cli):
    store.example()
    text = cli(app, "export", "--jsonl", "-", "--no-content").stdout
    assert "order 17" not in text
    assert "On its way" not in text
    assert "gen_ai.usage.input_tokens" in text


@pytest.fixture
def collector():
    received = []
    answers = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, dict(self.headers), json.loads(body)))
            status, answer = answers.pop(0) if answers else (200, b"{}")
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    server.received, server.answers = received, answers
    server.url = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def values_of(attributes):
    return {item["key"]: next(iter(item["value"].values())) for item in attributes}


def test_otlp_arrives_at_a_collector_as_it_stands_in_the_file(store, cli, collector):
    ids = store.example()
    store.span(store.run("still"), name="open one", status="open")
    store.writer.flush()
    result = cli(app, "export", "--otlp", collector.url, "--header", "x-key: k1", "--service", "shop")
    assert "5 spans of 2 runs exported; 1 are still open" in result.stderr
    ((where, headers, body),) = collector.received
    assert where == "/v1/traces"
    assert (headers["Content-Type"], headers["X-Key"]) == ("application/json", "k1")
    (resource,) = body["resourceSpans"]
    assert values_of(resource["resource"]["attributes"]) == {"service.name": "shop"}
    spans = {int(span["spanId"], 16): span for span in resource["scopeSpans"][0]["spans"]}
    assert set(spans) == set(ids.values())
    model = spans[ids["tiny"]]
    assert (len(model["traceId"]), model["parentSpanId"], model["kind"]) == (32, f"{ids['answer']:016x}", 3)
    assert int(model["endTimeUnixNano"]) - int(model["startTimeUnixNano"]) == 5_000_000
    attributes = values_of(model["attributes"])
    assert attributes["gen_ai.usage.input_tokens"] == "12"
    assert attributes["llm.token_count.total"] == "16"
    assert attributes["gen_ai.request.stream"] is True
    assert attributes["gen_ai.response.finish_reasons"] == {"values": [{"stringValue": "stop"}]}
    assert "parentSpanId" not in spans[ids["run"]]
    bill = spans[ids["bill"]]
    assert bill["status"] == {"code": 2, "message": "no price for article 9"}
    assert values_of(bill["events"][0]["attributes"])["exception.type"] == "ValueError"


def test_a_collector_that_is_busy_is_asked_again_and_rejections_are_told(store, cli, collector):
    store.example()
    collector.answers += [(503, b""), (200, b'{"partialSuccess": {"rejectedSpans": "2"}}')]
    result = cli(app, "export", "--otlp", collector.url + "/custom")
    assert [where for where, _, _ in collector.received] == ["/custom", "/custom"]
    assert "2 rejected" in result.stderr


def test_a_collector_that_refuses_is_an_error_with_its_answer(store, cli, collector):
    store.example()
    collector.answers.append((401, b""))
    with pytest.raises(CallError) as caught:
        cli(app, "export", "--otlp", collector.url)
    assert "401" in caught.value.message
    assert len(collector.received) == 1


def test_otlp_to_a_file_is_one_request_per_line(store, cli, tmp_path):
    store.example()
    target = tmp_path / "out.jsonl"
    report = json.loads(cli(app, "export", "last", "--otlp", target, "--json").stdout)
    assert report == {"runs": 1, "spans": 5, "open": 0, "rejected": 0}
    (line,) = target.read_text().splitlines()
    assert len(json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]) == 5


@pytest.mark.parametrize(
    "words", [[], ["--otlp", "a", "--jsonl", "b"], ["--otlp", "ftp://x"], ["--otlp", "http://x", "--header", "bad"]]
)
def test_an_export_that_goes_nowhere_is_refused(store, cli, words):
    store.example()
    with pytest.raises(SetupError):
        cli(app, "export", *words)


def test_export_into_a_missing_folder_is_a_clear_error_and_leaves_nothing(store, cli, tmp_path):
    store.example()
    (tmp_path / "file").write_text("I am no folder")
    for folder in ("no", "file"):
        with pytest.raises(SetupError) as caught:
            cli(app, "export", "--jsonl", tmp_path / folder / "out.jsonl")
        assert caught.value.code == "setup.output"


@pytest.fixture
def aged(store):
    """Ten runs, one per day, with a large payload each; two of them share one."""
    noise = random.Random(7)
    shared = noise.randbytes(8000).hex()
    for day in range(10):
        text = shared if day in (8, 2) else noise.randbytes(8000).hex()
        run = store.run(f"run-{day}", days_ago=10 - day)
        root = store.span(run, kind="run", name="g", input={"text": text}, output={"word": f"word{day}"})
        store.score(root, "s", 1)
    store.writer.flush()
    return store


def counts(path):
    with Reader(path) as reader:
        return {
            name: reader.connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in ("run", "span", "score", "payload", "span_search_docsize")
        }


def test_prune_by_days_deletes_old_runs_with_everything_that_hangs_on_them(aged, cli, path):
    cli(app, "search", "word3")
    before, size = counts(path), json.loads(cli(db_commands.app, "vacuum", "--json").stdout)["bytes_after"]
    assert before == {"run": 10, "span": 10, "score": 10, "payload": 9, "span_search_docsize": 10}
    dry = json.loads(cli(app, "prune", "--days", "5.5", "--dry-run", "--json").stdout)
    assert (dry["runs"], dry["spans"]) == (5, 5)
    assert counts(path) == before
    report = json.loads(cli(app, "prune", "--days", "5.5", "--json").stdout)
    assert (report["runs"], report["spans"]) == (5, 5)
    assert report["bytes_after"] < report["bytes_before"]
    assert path.stat().st_size == report["bytes_after"] < size
    # The payload that day 2 shared with day 8 stays.
    assert counts(path) == {"run": 5, "span": 5, "score": 5, "payload": 5, "span_search_docsize": 5}
    assert json.loads(cli(app, "search", "word3", "--json").stdout) == []
    assert len(json.loads(cli(app, "search", "word7", "--json").stdout)) == 1
    assert json.loads(cli(db_commands.app, "check", "--json").stdout)["problems"] == []


def test_prune_by_bytes_deletes_the_oldest_until_the_rest_fits(store, cli, path):
    for i in range(60):
        run = store.run(f"run-{i:02}")
        store.span(run, kind="run", name="g", input={"text": f"{i} " * 1500})
    store.writer.flush()
    used = json.loads(cli(app, "prune", "--bytes", "10G", "--dry-run", "--json").stdout)["bytes_before"]
    aim = used - 40_000
    report = json.loads(cli(app, "prune", "--bytes", str(aim), "--json").stdout)
    assert report["bytes_after"] <= aim
    with Reader(path) as reader:
        left = [run.run_id for run in reader.runs(limit=100)]
    assert 0 < len(left) < 60
    assert left == [f"run-{i:02}" for i in reversed(range(60 - len(left), 60))]


def test_prune_leaves_open_runs(store, cli, path):
    store.span(store.run("old", days_ago=100), kind="run", name="g", status="open")
    store.writer.flush()
    report = json.loads(cli(app, "prune", "--days", "1", "--json").stdout)
    assert report["runs"] == 0


@pytest.mark.parametrize("words", [[], ["--bytes", "many"]])
def test_prune_without_a_measure_is_refused(store, cli, words):
    store.example()
    with pytest.raises(SetupError):
        cli(app, "prune", *words)


def test_drops_are_shown(store, cli):
    store.example()
    store.writer.drop(3)
    store.writer.close()
    assert "3 spans could not be stored" in cli(app, "list").stderr


@pytest.mark.parametrize(
    "words", [["trace", "show", "nope"], ["trace", "list"], ["db", "check"], ["trace", "prune", "--days", "1"]]
)
def test_the_persons_mistakes_end_with_exit_code_2_and_a_hint(path, capsys, words):
    from chainops.cli import main

    path.write_bytes(b"junk" * 500)
    with pytest.raises(SystemExit) as caught:
        main([*words, "--db", str(path)])
    said = capsys.readouterr()
    assert caught.value.code == 2
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert "hint: " in said.err
    assert "Traceback" not in said.err
