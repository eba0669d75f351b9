import time

import pytest
from typer.testing import CliRunner

from chainops.store.records import RunState, ScoreRecord, SpanRecord
from chainops.store.writer import Writer

CALL = {"name": "f", "args": {"x": 1}, "id": "c1"}


class Store:
    """A trace file with known contents, and the commands run on it."""

    def __init__(self, path):
        self.path = path
        self.writer = Writer(path)

    def run(self, run_id, *, thread=None, graph="shop", days_ago=0.0, metadata=None):
        run = RunState(run_id, graph, thread, ("blue",), metadata or {})
        run.start_ns -= int(days_ago * 86_400e9)
        return run

    def span(
        self,
        run,
        parent=None,
        *,
        kind="node",
        name="n",
        path="",
        input=None,
        output=None,
        status="ok",
        ms=5.0,
        **details,
    ):
        span = SpanRecord(run, parent, kind, name, path or name, 1, input)
        assert self.writer.opened(span)
        for key, value in details.items():
            setattr(span.more(), key, value)
        if status != "open":
            self.end(span, output, status, ms)
        return span

    def end(self, span, output=None, status="ok", ms=5.0):
        span.output, span.status = output, status
        span.end_clock = span.clock + int(ms * 1e6)
        self.writer.ended(span)

    def score(self, span, name, value):
        self.writer.add(ScoreRecord(span, name, value, "human", "nice", time.time_ns()))

    def example(self):
        """A run with an agent, a model, a tool and an error; ids of its spans by name."""
        run = self.run("0198aaaa-0000-7000-8000-000000000001", thread="t1", metadata={"user": "u7"})
        root = self.span(run, kind="run", name="shop", status="open", input={"q": "where is order 17?"})
        node = self.span(run, root, name="answer", status="open", attributes={"off": ["rails"]})
        model = self.span(
            run,
            node,
            kind="model",
            name="tiny",
            path="answer",
            input=[{"type": "human", "content": "where is order 17?"}],
            output={
                "type": "ai",
                "content": "On its way.",
                "tool_calls": [CALL],
            },
            model="tiny-1",
            tokens_in=12,
            tokens_out=4,
            tokens_cached=8,
            first_token_ns=2_000_000,
            attributes={
                "request": {"temperature": 0.5, "stop": ["END"]},
                "streaming": True,
                "finish_reason": "stop",
                "provider": "llama.cpp",
                "cache": {"hit": False},
            },
            artifacts=[{"kind": "prompt", "name": "greeting", "version": "3"}],
        )
        tool = self.span(
            run,
            node,
            kind="tool",
            name="lookup",
            path="answer",
            input={"order": 17},
            output="shipped",
            attributes={"tool_call_id": "c1"},
        )
        self.end(node, output={"messages": ["On its way."]})
        broken = self.span(
            run,
            root,
            name="bill",
            status="error",
            error_type="ValueError",
            error_message="no price for article 9",
            error_hint="Add the price.",
        )
        self.end(root, output={"done": True}, ms=40)
        self.score(model, "helpful", 0.9)
        self.writer.flush()
        return {"run": root.id, "answer": node.id, "tiny": model.id, "lookup": tool.id, "bill": broken.id}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.db"


@pytest.fixture
def store(path):
    made = Store(path)
    yield made
    made.writer.close()


@pytest.fixture
def cli(path):
    """Run a command of an app on the file; returns the result, with `code` for a mistake of the person."""
    runner = CliRunner()

    def run(app, *words, db=path):
        result = runner.invoke(app, [*map(str, words), "--db", str(db)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run
