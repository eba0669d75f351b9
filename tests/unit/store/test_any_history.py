"""Whatever happens in whatever order, the file adds up."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chainops.store import migrate
from chainops.store.maintain import check
from chainops.store.options import WriterOptions
from chainops.store.reader import Reader
from chainops.store.records import RunState, SpanRecord
from chainops.store.retention import prune
from chainops.store.schema import connect
from chainops.store.search import index_pending, search
from chainops.store.writer import Writer

KINDS = ("node", "model", "tool", "step")
STATUSES = ("ok", "error", "blocked", "paused", "cancelled")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(0, 30), st.sampled_from(KINDS)),
        st.tuples(st.just("end"), st.integers(0, 30), st.sampled_from(STATUSES)),
        st.tuples(st.just("run"), st.integers(0, 30), st.just("")),
        st.tuples(st.sampled_from(["flush", "index", "prune"]), st.just(0), st.just("")),
    ),
    max_size=40,
)


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """The bytes of a file with the schema and nothing else."""
    path = tmp_path_factory.mktemp("any-history") / "empty.db"
    migrate.upgrade(path)
    return path.read_bytes()


@example(
    history=[("begin", 0, "node"), ("begin", 0, "node"), ("flush", 0, ""), ("end", 0, "ok"), ("index", 0, "")],
    batch_rows=1,
)
@given(history=steps, batch_rows=st.sampled_from([1, 2, 1000]))
@settings(deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_sums_parents_and_search_agree_with_what_happened(empty, history, batch_rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.db"
        path.write_bytes(empty)
        writer = Writer(path, WriterOptions(batch_rows=batch_rows, batch_ms=0, open_after_ms=0.1))
        expected, still_open, runs = {}, [], []
        for what, number, word in history:
            if what == "run" or not runs:
                runs.append(RunState(f"run-{len(runs)}", "g"))
                span = SpanRecord(runs[-1], None, "run", f"word{len(expected)}")
                expected[span.name] = span
                writer.opened(span)
                still_open.append(span)
            if what == "begin" and still_open:
                parent = still_open[number % len(still_open)]
                span = SpanRecord(parent.run, parent, word, f"word{len(expected)}", input="x" * (number * 300))
                expected[span.name] = span
                writer.opened(span)
                still_open.append(span)
            elif what == "end" and still_open:
                span = still_open.pop(number % len(still_open))
                if word == "error":
                    span.more().error_type = "E"
                if span.kind == "model":
                    span.more().tokens_out = number
                span.output, span.status, span.end_clock = {"n": number}, word, span.clock + 1000
                writer.ended(span)
            elif what == "flush":
                writer.flush()
            elif what == "index":
                assert index_pending(path)
            elif what == "prune":
                writer.flush()
                prune(path, max_bytes=10**9)  # nothing is too large: it must change nothing
        ended = sum(1 for span in expected.values() if span.end_clock)
        assert writer.flush() == ended
        assert (writer.dropped, writer.stats.waiting) == (0, 0)
        if not expected:
            writer.close()
            return
        agree(path, expected)
        writer.close()
        assert index_pending(path)
        with Reader(path) as reader:
            for name, span in expected.items():
                assert [hit.span.id for hit in search(reader, name)] == [span.id]
        prune(path, days=0)
        connection = connect(path)
        connection.execute("INSERT INTO span_search (span_search) VALUES ('integrity-check')")
        left = [connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("run", "span", "payload")]
        connection.close()
        assert left == [0, 0, 0]
        assert check(path).problems == ()


def agree(path, expected):
    with Reader(path) as reader:
        found = {}
        for run in reader.runs(limit=1000):
            spans = reader.spans(run.id)
            found |= {span.name: (run, span) for span in spans}
            assert run.spans == len(spans)
            assert run.errors == sum(span.status == "error" for span in spans)
            assert run.model_calls == sum(span.kind == "model" and span.status != "open" for span in spans)
            assert run.tokens_out == sum(span.tokens_out or 0 for span in spans)
        assert set(found) == set(expected)
        for name, span in expected.items():
            run, row = found[name]
            assert (run.run_id, row.kind, row.id) == (span.run.run_id, span.kind, span.id)
            assert row.parent == (None if span.parent is None else span.parent.id)
            assert row.status == (span.status if span.end_clock else "open")
            if isinstance(span.input, str):
                assert json.loads(row.input) == span.input
