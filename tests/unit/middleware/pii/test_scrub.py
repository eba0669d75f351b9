"""The mask of a trace."""

from __future__ import annotations

import json
import sqlite3

from chainops.calls import RunContext
from chainops.middleware.pii import Pii, Scanner, Scrubber
from chainops.middleware.trace import Trace
from chainops.pipeline import Pipeline
from chainops.store.vault import Keys
from chainops.testing import node_call

KEY = "ab" * 32


def scrubber(key=KEY):
    return Scrubber(Scanner(), Keys(key))


def test_values_become_identifiers_that_are_equal_for_equal_values():
    one, two, same = (scrubber()({"to": text})["to"] for text in ("a@b.io", "c@d.io", "A@B.IO"))
    assert one == same != two
    assert one.startswith("<EMAIL:")


def test_identifiers_need_the_key():
    assert scrubber()("a@b.io") != scrubber("cd" * 32)("a@b.io")


def test_names_of_fields_and_large_numbers_are_searched_and_types_stay():
    found = scrubber()({"a@b.io": [True, 5, 1.5, None], "phone": 4930901820, "count": 4930901820})
    (mail,) = (k for k in found if k.startswith("<EMAIL"))
    assert found[mail] == [True, 5, 1.5, None]
    assert found["phone"].startswith("<PHONE:")
    assert found["count"] == 4930901820


def test_what_a_thread_knows_becomes_its_placeholder():
    pii = Pii()
    run = RunContext(run_id="r1", thread_id="t1")
    pii._threads.of(run).placeholder("PERSON", "John Doe")
    mask = pii.scrubber()
    assert mask.for_run(run)("John came").startswith("<PERSON:")
    assert mask.for_run(run)("John Doe came") == "<PERSON_1> came"
    assert mask.for_run(RunContext(run_id="r2", thread_id="t2"))("John Doe came") == "John Doe came"


async def test_a_thread_that_is_named_after_a_person_has_an_identifier_in_the_trace(tmp_path):
    pii = Pii()
    trace = Trace(tmp_path / "t.db", mask=pii.scrubber())
    await Pipeline([trace]).run(node_call({"a": 1}, run=RunContext(run_id="r1", thread_id="ann@b.io")))
    await Pipeline([trace]).run(node_call({"a": 1}, run=RunContext(run_id="r2", thread_id="t2")))
    trace.close()
    with sqlite3.connect(tmp_path / "t.db") as db:
        named = {row[0] for row in db.execute("SELECT thread FROM run")}
    assert named == {f"<EMAIL:{pii.scrubber().identifier('EMAIL', 'ann@b.io')}>", "t2"}


async def test_a_mask_of_a_trace_is_made_for_each_run(tmp_path):
    runs = []

    class Mask:
        def for_run(self, run):
            runs.append(run.run_id)
            return lambda value: "masked"

        def __call__(self, value):
            raise AssertionError("the one for the run is called")

    trace = Trace(tmp_path / "t.db", mask=Mask())
    await Pipeline([trace]).run(node_call({"a": 1}))
    trace.close()
    with sqlite3.connect(tmp_path / "t.db") as db:
        assert [json.loads(row[0]) for row in db.execute("SELECT input FROM span")] == ["masked"]
    assert len(runs) == 1
