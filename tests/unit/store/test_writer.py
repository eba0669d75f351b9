import json
import sqlite3
import threading
import time

import pytest

from chainops.store import migrate
from chainops.store.options import WriterOptions
from chainops.store.records import ScoreRecord
from chainops.store.writer import shared_writer


def until(condition, seconds=10.0):
    """Wait for the writer's thread to get there."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def warnings_of(caplog):
    return [r for r in caplog.records if r.name == "chainops" and r.levelname == "WARNING"]


def test_flush_returns_the_number_of_spans_that_are_in_the_file(record):
    to = record()
    run = to.run()
    for _ in range(7):
        to.one(run)
    assert to.writer.flush() == 7
    assert len(to.rows()) == 7
    to.one(run)
    assert to.writer.flush() == 8


def test_spans_are_committed_without_a_flush(record):
    to = record()
    to.one()
    until(lambda: to.writer.stats.durable == 1)
    assert len(to.rows()) == 1


def test_a_quick_span_is_written_once_and_a_slow_one_is_in_the_file_while_it_runs(record):
    to = record(WriterOptions(open_after_ms=30))
    run = to.run()
    slow = to.begin(run, name="slow", input={"a": 1})
    until(lambda: to.path.exists() and migrated(to) and [r["status"] for r in to.rows()] == ["open"])
    assert to.rows("SELECT status FROM run")[0]["status"] == "open"
    assert json.loads(to.rows()[0]["input"]) == {"a": 1}
    to.end(slow, output={"b": 2})
    to.writer.flush()
    (row,) = to.rows()
    assert (row["status"], json.loads(row["output"])) == ("ok", {"b": 2})
    assert row["end_ns"] - row["start_ns"] == 1_000_000
    assert to.rows("SELECT status, spans FROM run") == [{"status": "ok", "spans": 1}]


def migrated(to):
    return bool(to.rows("SELECT 1 FROM sqlite_master WHERE name='span'"))


def test_the_sums_in_the_run_equal_sums_over_its_spans(record):
    to = record(WriterOptions(batch_rows=3))
    run = to.run()
    root = to.begin(run, kind="run", name="g")
    for i in range(10):
        span = to.begin(run, root, kind=("model", "tool", "node", "retriever")[i % 4], name=f"s{i}")
        if i % 4 == 0:
            details = span.more()
            details.tokens_in, details.tokens_out, details.tokens_cached = i, 2 * i, 1
        if i == 7:
            span.more().error_type = "ValueError"
        to.end(span, status="error" if i == 7 else "ok")
    to.end(root)
    to.writer.flush()
    (run_row,) = to.rows("SELECT * FROM run")
    (sums,) = to.rows(
        "SELECT count(*) AS spans, sum(status='error') AS errors, sum(kind='model') AS model_calls,"
        " sum(kind IN ('tool', 'retriever')) AS tool_calls, sum(tokens_in) AS tokens_in, sum(tokens_out) AS tokens_out,"
        " sum(tokens_cached) AS tokens_cached FROM span"
    )
    assert {name: run_row[name] for name in sums} == sums
    assert (run_row["first_error"], run_row["status"]) == ("ValueError in s7", "ok")


def test_whatever_is_stored_has_its_parents_in_the_file(record):
    to = record()
    run = to.run()
    root = to.begin(run, kind="run", name="g")
    middle = to.begin(run, root, name="middle")
    to.end(to.begin(run, middle, name="leaf"))
    until(lambda: to.writer.stats.durable == 1)
    rows = {row["name"]: row for row in to.rows()}
    assert rows["leaf"]["parent"] == rows["middle"]["id"]
    assert rows["middle"]["parent"] == rows["g"]["id"]
    assert rows["g"]["status"] == rows["middle"]["status"] == "open"


def test_a_run_that_goes_on_in_another_writer_stays_one_run(record):
    first, second = record(), record()
    first.one(first.run("same"))
    first.writer.flush()
    second.one(second.run("same"))
    second.writer.flush()
    assert first.rows("SELECT run_id, spans FROM run") == [{"run_id": "same", "spans": 2}]


def test_a_payload_over_the_cap_is_cut_and_its_full_size_noted(record):
    to = record(WriterOptions(max_payload_bytes=100))
    to.one(input="é" * 1000)
    to.writer.flush()
    (row,) = to.rows()
    assert row["input_bytes"] == 2002
    assert row["input"] == '"' + "é" * 49


def test_large_equal_payloads_are_stored_once_and_compressed(record):
    to = record()
    text = "all work and no play " * 1000
    run = to.run()
    to.one(run, input=text)
    to.one(run, input=text)
    to.writer.flush()
    first, second = to.rows()
    assert first["input"] is None
    assert first["input_payload"] == second["input_payload"] is not None
    (payload,) = to.rows("SELECT * FROM payload")
    assert payload["size"] == len(text) + 2
    assert len(payload["data"]) < payload["size"] / 10


def test_a_score_on_a_span_that_still_runs_points_to_it(record):
    to = record()
    span = to.begin(to.run())
    to.writer.add(ScoreRecord(span, "good", 1, "human", "", 5))
    to.writer.flush()
    (score,) = to.rows("SELECT * FROM score")
    (row,) = to.rows()
    assert (score["span"], score["run"], score["value"]) == (row["id"], row["run"], 1.0)


def test_closing_stores_what_waits_and_marks_what_still_runs_as_interrupted(record):
    to = record()
    run = to.run()
    root = to.begin(run, kind="run", name="g")
    to.end(to.begin(run, root))
    stats = to.writer.close()
    assert (stats.durable, stats.waiting, stats.dropped) == (1, 0, 0)
    assert [row["status"] for row in to.rows()] == ["interrupted", "ok"]
    assert to.rows("SELECT status FROM run") == [{"status": "interrupted"}]
    (process,) = to.rows("SELECT * FROM process")
    assert process["ended_ns"] is not None


def test_spans_of_a_dead_process_are_interrupted_when_the_file_is_opened_next(record, path):
    migrate.upgrade(path)
    connection = sqlite3.connect(path)
    from chainops.store.process import this_process

    me = this_process()
    connection.execute(
        "INSERT INTO process (id, pid, host, boot_id, start_ticks, started_ns, dropped) VALUES (5, ?, ?, ?, 1, 1, 0)",
        (me.pid, me.host, me.boot_id),
    )
    connection.execute(
        "INSERT INTO process (id, pid, host, boot_id, start_ticks, started_ns, dropped)"
        " VALUES (6, 1, 'another-machine', 'x', 1, 1, 0)"
    )
    for process in (5, 6):
        connection.execute(
            "INSERT INTO span (id, run, kind, name, path, attempt, start_ns, status)"
            " VALUES (?, 1, 'node', 'n', '', 1, 1, 'open')",
            ((process << 32) + 1,),
        )
    connection.commit()
    connection.close()
    to = record()
    to.one()
    to.writer.flush()
    by_process = {row["id"] >> 32: row["status"] for row in to.rows()}
    assert (by_process[5], by_process[6]) == ("interrupted", "open")


def test_a_live_writers_open_spans_are_left_alone_by_a_second_one(record):
    first, second = record(), record()
    first.begin(first.run("a"))
    first.writer.flush()
    second.one(second.run("b"))
    second.writer.flush()
    assert [row["status"] for row in first.rows()] == ["open", "ok"]


@pytest.fixture
def stuck(record, path):
    """A writer whose file is locked until `free` is called."""
    migrate.upgrade(path)
    blocker = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    blocker.execute("BEGIN IMMEDIATE")

    def make(**options):
        return record(WriterOptions(busy_ms=1, **options))

    make.free = lambda: blocker.execute("ROLLBACK")
    yield make
    blocker.close()


def test_a_locked_file_stops_no_call_warns_once_and_loses_nothing(stuck, caplog):
    to = stuck()
    run = to.run()
    to.one(run)
    until(lambda: to.writer.stats.failures >= 2)
    to.one(run)
    assert to.writer.flush(timeout=5) == 0
    assert len(warnings_of(caplog)) == 1
    assert "locked" in warnings_of(caplog)[0].getMessage()
    stuck.free()
    until(lambda: to.writer.stats.durable == 2)
    assert len(to.rows()) == 2
    assert to.writer.dropped == 0


def test_a_full_queue_first_drops_payloads_and_then_spans_and_counts_both(stuck, caplog):
    to = stuck(max_queue=5)
    run = to.run()
    to.one(run)
    until(lambda: to.writer.stats.failures >= 1)
    # One span is in the writer's hands; 5 fill the queue, 5 more lose their payload, the rest is dropped.
    kept = [span for _ in range(20) if (span := to.begin(run, input={"a": 1})) and to.end(span, output={"b": 2})]
    assert (len(kept), to.writer.dropped, to.writer.stats.payloads_dropped) == (10, 10, 5)
    assert to.writer.stats.waiting == 11
    stuck.free()
    until(lambda: to.writer.stats.durable == 11)
    without = [row for row in to.rows() if row["attributes"] and "payload_dropped" in row["attributes"]]
    assert len(without) == 5
    assert all(row["input"] is None for row in without)
    to.writer.close()
    assert to.rows("SELECT dropped FROM process")[0]["dropped"] == 10


def test_drop_new_drops_whole_spans(stuck):
    to = stuck(max_queue=5, on_full="drop_new")
    run = to.run()
    to.one(run)
    until(lambda: to.writer.stats.failures >= 1)
    kept = [span for _ in range(8) if (span := to.begin(run)) and to.end(span)]
    assert (len(kept), to.writer.dropped, to.writer.stats.payloads_dropped) == (5, 3, 0)


def test_block_waits_for_room_and_drops_only_after_its_time(stuck):
    to = stuck(max_queue=2, on_full="block", block_s=0.01)
    run = to.run()
    to.one(run)
    until(lambda: to.writer.stats.failures >= 1)
    for _ in range(2):
        to.one(run)
    assert to.begin(run) is None
    assert to.writer.dropped == 1
    patient = stuck(max_queue=2, on_full="block", block_s=30)
    other = patient.run("other")
    for _ in range(3):
        patient.one(other)
    until(lambda: patient.writer.stats.failures >= 1)
    helper = threading.Timer(0.05, stuck.free)
    helper.start()
    for _ in range(20):
        assert patient.one(other)
    helper.join()
    assert patient.writer.flush() == 23
    assert patient.writer.dropped == 0


def test_a_row_that_no_column_takes_is_dropped_alone(record, caplog):
    to = record()
    run = to.run()
    bad = to.begin(run, name="bad")
    bad.more().tokens_in = 2**70
    good = to.begin(run, name="good")
    to.end(bad)
    to.end(good)
    assert to.writer.flush() == 1
    assert [row["name"] for row in to.rows()] == ["good"]
    assert to.writer.dropped == 1
    assert len(warnings_of(caplog)) == 1


def test_a_file_that_is_deleted_is_made_again_and_open_spans_move_over(record):
    to = record()
    run = to.run()
    root = to.begin(run, kind="run", name="g")
    to.end(to.begin(run, root, name="before"))
    to.writer.flush()
    to.path.unlink()
    to.end(to.begin(run, root, name="after"))
    to.end(root)
    assert to.writer.flush() == 3
    rows = {row["name"]: row for row in to.rows()}
    assert set(rows) == {"g", "after"}
    assert rows["after"]["parent"] == rows["g"]["id"]
    assert rows["g"]["status"] == "ok"


def test_what_could_not_be_stored_at_the_end_is_counted_and_said(stuck, caplog):
    to = stuck()
    to.one()
    until(lambda: to.writer.stats.failures >= 1)
    stats = to.writer.close()
    assert (stats.durable, stats.dropped) == (0, 1)
    assert "1 spans could not be stored" in caplog.text


def test_after_closing_spans_are_counted_as_dropped(record):
    to = record()
    to.one()
    to.writer.close()
    assert to.begin(to.run()) is None
    assert to.writer.dropped == 1


def test_many_threads_write_through_one_writer(record):
    to = record()

    def work(number):
        run = to.run(f"run-{number}")
        for _ in range(200):
            to.one(run)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert to.writer.flush() == 800
    assert [row["spans"] for row in to.rows("SELECT spans FROM run")] == [200] * 4
    assert len({row["id"] for row in to.rows()}) == 800


def test_everybody_who_asks_for_a_file_gets_the_same_writer_until_it_is_closed(path):
    options = WriterOptions()
    writer = shared_writer(path, options)
    assert shared_writer(str(path), options) is writer
    writer.close()
    again = shared_writer(path, options)
    assert again is not writer
    again.close()


def test_a_flush_with_nothing_written_yet_makes_no_file(record):
    to = record()
    assert to.writer.flush() == 0
    to.writer.close()
    assert not to.path.exists()


def test_runs_of_one_batch_stand_in_the_order_in_which_they_began(record):
    to = record()
    first, second, third = (to.run(f"run-{i}") for i in (1, 2, 3))
    to.one(first)
    to.begin(second)  # still open when the batch is written
    to.one(third)
    to.writer.flush()
    assert [row["run_id"] for row in to.rows("SELECT run_id FROM run ORDER BY id")] == ["run-1", "run-2", "run-3"]
