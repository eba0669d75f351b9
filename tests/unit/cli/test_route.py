"""``chainops route`` as a person runs it."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from chainops import Middleware, Pipeline
from chainops.cli import app
from chainops.errors import SetupError
from chainops.gateway import Alias, Deployment, Gateway
from chainops.middleware.route import Route
from chainops.middleware.route.calibrate import Judged, calibrate, read_thresholds
from chainops.middleware.trace import Trace
from chainops.testing import ScriptedModel, model_call

TOML = """
[route.models.small]
factory = "chainops.testing:ScriptedModel"
[route.models.large]
factory = "chainops.testing:ScriptedModel"
[route.aliases.chat]
tiers = ["small", "large"]
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "chainops.toml").write_text(TOML)
    return lambda *args: CliRunner().invoke(app, ["route", *map(str, args)])


def test_the_seeds_questions_are_explained(run):
    found = json.loads(run("explain", "What is our leave policy?", "--alias", "chat", "--json").stdout)
    assert found["tier"] == "small" and found["reason"] == "difficulty" and found["plan"] == ["small", "large"]
    text = run("explain", "Draft a legal clause for this MOU", "--alias", "chat").stdout
    assert "chat: large, by difficulty (tiers begin at 0.5)" in text and "formal" in text


def test_models_and_aliases_are_listed(run, tmp_path):
    assert json.loads(run("list", "--json").stdout)["aliases"] == {"chat": {"tiers": ["small", "large"]}}
    assert "small" in run("list").stdout
    (tmp_path / "chainops.toml").write_text("")
    empty = run("list")
    assert empty.exit_code == 0 and "no models" in empty.stderr


def test_thresholds_come_from_labels_and_are_used(run, tmp_path):
    rows = [{"text": "What is it?", "good": True}] * 100 + [{"text": "Draft a contract clause", "good": False}] * 20
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = run("calibrate", "chat", "--labels", "labels.jsonl", "--out", "t.json", "--json")
    report = json.loads(found.stdout)
    assert report["share"] == pytest.approx(100 / 120) and report["good"] == 1.0 and report["lower"] > 0.95
    assert read_thresholds(tmp_path / "t.json") == {"chat": (report["threshold"],)}
    (tmp_path / "chainops.toml").write_text('[route]\nthresholds = "t.json"\n' + TOML)
    explained = json.loads(run("explain", "x", "--alias", "chat", "--json").stdout)
    assert explained["thresholds"] == [report["threshold"]]
    told = run("calibrate", "chat", "--labels", "labels.jsonl")
    assert "83.3% of 120 questions go to small" in told.stdout and "written to t.json" in told.stderr


def test_thresholds_come_from_scores_in_the_trace(run, tmp_path):
    trace = Trace(tmp_path / "t.db")
    gateway = Gateway(
        [Deployment(n, ScriptedModel(["a"], repeat=True)) for n in ("small", "large")],
        [Alias("chat", tiers=("small", "large"), thresholds=(0.99,))],
    )

    async def nobody(call):
        raise AssertionError

    ask = Pipeline([trace, Scoring(), Route(gateway)]).around_model(nobody)

    async def main():
        for i in range(60):
            await ask(model_call(["What is it?", "Draft a clause"][i % 2], name="chat"))

    asyncio.run(main())
    trace.close()
    found = run("calibrate", "chat", "--db", "t.db", "--json", "--quality", "0.8")
    report = json.loads(found.stdout)
    assert report["judged"] == 60 and report["share"] == 0.5 and report["small_everywhere"] == 0.5
    missing = run("calibrate", "chat", "--db", "t.db", "--score", "nothing")
    assert missing.exit_code != 0 and missing.exception.code == "setup.route"


class Scoring(Middleware):
    async def wrap_model_call(self, call, call_next):
        result = await call_next(call)
        call.recorder.score("quality", 0.0 if "Draft" in str(call.messages[0].text) else 1.0, source="test")
        return result


def test_bad_labels_name_their_line(run, tmp_path):
    (tmp_path / "labels.jsonl").write_text('{"text": "a", "good": true}\n{"text": "b", "good": "maybe"}\n')
    found = run("calibrate", "chat", "--labels", "labels.jsonl")
    assert isinstance(found.exception, SetupError) and "line 2" in str(found.exception)
    assert isinstance(run("calibrate", "chatt").exception, SetupError)


def test_a_threshold_is_only_as_high_as_its_proof():
    assert calibrate([Judged(0.1, True)] * 10).threshold == 0.0  # ten good ones do not prove 95 %
    assert calibrate([Judged(0.1, True)] * 100).threshold == 1.0
    mixed = [Judged(i / 200, i < 150) for i in range(200)]
    found = calibrate(mixed, quality=0.9)
    assert 0.7 < found.threshold < 0.85 and found.lower >= 0.9 and found.good < 1.0
    ties = [Judged(0.5, True)] * 90 + [Judged(0.5, False)] * 30
    assert calibrate(ties, quality=0.9).threshold == 0.0  # equal questions are not parted
    with pytest.raises(SetupError):
        calibrate([])
