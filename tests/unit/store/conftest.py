import sqlite3

import pytest

from chainops.store.records import RunState, SpanRecord
from chainops.store.writer import Writer


class Recording:
    """A writer and short ways to put spans into it."""

    def __init__(self, path, options=None):
        self.path = path
        self.writer = Writer(path, options)

    def run(self, run_id="run-1", **more):
        return RunState(run_id, **more)

    def begin(self, run, parent=None, kind="node", name="n", input=None):
        span = SpanRecord(run, parent, kind, name, name, 1, input)
        return span if self.writer.opened(span) else None

    def end(self, span, output=None, status="ok"):
        span.output = output
        span.status = status
        span.end_clock = span.clock + 1_000_000
        self.writer.ended(span)
        return span

    def one(self, run=None, **more):
        return self.end(self.begin(run or self.run(), **more))

    def rows(self, sql="SELECT * FROM span ORDER BY id"):
        connection = sqlite3.connect(self.path)
        connection.row_factory = sqlite3.Row
        try:
            return [dict(row) for row in connection.execute(sql)]
        finally:
            connection.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.db"


@pytest.fixture
def record(path):
    made = []

    def make(options=None, at=path):
        made.append(Recording(at, options))
        return made[-1]

    yield make
    for recording in made:
        recording.writer.close()
