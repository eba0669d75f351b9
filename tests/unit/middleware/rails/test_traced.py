"""Each rail's verdict in the trace."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from chainops import Pipeline
from chainops.middleware.rails import DenyList, PatternRail, Rail, RailBlocked, Rails, SelfCheck, Subject, Verdict
from chainops.middleware.trace import Trace
from chainops.store.verdicts import verdicts
from chainops.testing import ScriptedModel, model_call

WORDS = DenyList("words", ["xyzzy"], places=["input"])


async def told(tmp_path: Path, rails: Rails, *texts: str, **options: Any) -> Path:
    trace = Trace(tmp_path / "t.db", **options)
    for text in texts:
        model = ScriptedModel(["The code is 4711."], repeat=True)
        with suppress(RailBlocked):
            await Pipeline([trace, rails]).around_model(model)(model_call(text))
    trace.close()
    return tmp_path / "t.db"


def rows(file: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as db:
        return db.execute(sql).fetchall()


SPANS = (
    "SELECT s.name, p.kind, s.status, c.name, c.label, s.end_ns >= s.start_ns, json_extract(s.attributes, '$.place')"
    " FROM span s JOIN span p ON p.id = s.parent JOIN score c ON c.span = s.id ORDER BY s.start_ns"
)


async def test_a_rail_that_let_a_text_pass_is_a_span_with_a_score_under_the_call(tmp_path: Path) -> None:
    codes = PatternRail("codes", [r"\d{4}"], places=["output"], policy="redact")
    file = await told(tmp_path, Rails([WORDS, codes]), "hello")
    assert rows(file, SPANS) == [
        ("rail words", "model", "ok", "rail.words", "allow", 1, "input"),
        ("rail codes", "model", "ok", "rail.codes", "redact", 1, "output"),
    ]
    assert rows(file, "SELECT spans FROM run") == [(3,)]


async def test_a_block_is_one_score_and_a_blocked_span(tmp_path: Path) -> None:
    file = await told(tmp_path, Rails([WORDS]), "say xyzzy")
    assert rows(file, SPANS) == [("rail words", "model", "blocked", "rail.words", "block", 1, "input")]
    assert rows(file, "SELECT comment FROM score") == [("1 matches of words",)]


async def test_a_remembered_verdict_is_recorded_again_and_said_to_be_remembered(tmp_path: Path) -> None:
    file = await told(tmp_path, Rails([WORDS]), "hello", "hello")
    known = "SELECT json_extract(attributes, '$.remembered'), end_ns = start_ns FROM span WHERE kind = 'step'"
    first, second = rows(file, f"{known} ORDER BY id")
    assert (bool(first[0]), second) == (False, (1, 1))


async def test_a_rail_that_asks_a_model_has_one_score_and_the_models_call_beneath_it(tmp_path: Path) -> None:
    guard = SelfCheck(ScriptedModel(["No."], repeat=True), places=["input"])
    file = await told(tmp_path, Rails([guard]), "hello", "hello")
    assert [row[3:5] for row in rows(file, SPANS)] == [("rail.self check", "allow")] * 2
    asked = "SELECT p.name, s.output, json_extract(s.attributes, '$.tokens_out')"
    asked += " FROM span s JOIN span p ON p.id = s.parent WHERE s.name LIKE 'model %'"
    ((above, answer, tokens),) = rows(file, asked)  # the second was remembered
    assert (above, answer) == ("rail self check", '"No."') and tokens > 0


class Broken(Rail):
    waits = True

    async def check(self, subject: Subject) -> Verdict:
        raise ValueError("no rules")


@pytest.mark.parametrize(("on_error", "label"), [("block", "block"), ("flag", "flag")])
async def test_a_rail_that_broke_has_a_score_of_what_was_done_about_it(
    tmp_path: Path, on_error: Any, label: str
) -> None:
    file = await told(tmp_path, Rails([Broken("broken", places=["input"], on_error=on_error)]), "hello")
    assert [(row[2], row[4]) for row in rows(file, SPANS)] == [("error", label)]


async def test_a_text_in_the_history_is_judged_again_without_a_score(tmp_path: Path) -> None:
    trace, rails = Trace(tmp_path / "t.db"), Rails([WORDS])
    talk = [HumanMessage("say xyzzy"), AIMessage("no"), HumanMessage("hello")]
    await Pipeline([trace, rails]).around_model(ScriptedModel(["ok"]))(model_call("hi").replace(messages=talk))
    trace.close()
    assert rows(tmp_path / "t.db", "SELECT name, label FROM score") == [("rail.words", "allow")]
    assert '"history":true' in rows(tmp_path / "t.db", "SELECT attributes FROM span WHERE kind = 'model'")[0][0]


async def test_what_rails_said_of_a_run_that_is_not_sampled_is_not_stored(tmp_path: Path) -> None:
    file = await told(tmp_path, Rails([WORDS]), "hello", "say xyzzy", sample=0.0, keep_errors=True)
    assert [row[4] for row in rows(file, SPANS)] == ["block"]


async def test_the_mask_of_the_trace_covers_what_rails_say(tmp_path: Path) -> None:
    def mask(value: Any) -> Any:
        return "masked" if isinstance(value, str) else value

    file = await told(tmp_path, Rails([WORDS]), "say xyzzy", mask=mask)
    assert rows(file, "SELECT comment FROM score") == [("masked",)]


async def test_passes_and_blocks_are_counted_by_rail_and_day(tmp_path: Path) -> None:
    file = await told(tmp_path, Rails([WORDS]), "hello", "hello", "good day", "say xyzzy")
    (found,) = verdicts(file)
    assert (found.rail, dict(found.counts), found.remembered) == ("words", {"allow": 3, "block": 1}, 1)
    assert len(found.since) == 10 and verdicts(file, by="hour")[0].since.endswith(":00Z")
    assert verdicts(file, since_ns=2**62) == []
