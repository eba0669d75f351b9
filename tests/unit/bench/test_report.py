"""The report: spread, verdicts, missing figures, and a page that loads nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
REPORT = ROOT / "tests" / "bench" / "report"


@pytest.fixture
def report(monkeypatch):
    """The report's modules, which import each other by their bare names."""
    monkeypatch.syspath_prepend(str(REPORT))
    names = ("figures", "causes", "plan", "run", "table", "plots", "page", "machine", "peers")
    yield {name: __import__(name) for name in names}
    for name in names:
        sys.modules.pop(name, None)


def test_every_benchmark_has_its_script_and_a_name_of_its_own(report):
    benches = report["plan"].BENCHES
    names = [bench.name for bench in benches]
    assert len(set(names)) == len(names)
    assert [b.name for b in benches if not (REPORT.parent / (b.script or f"bench_{b.name}.py")).is_file()] == []
    assert {peer for bench in benches for peer in bench.peers} == set(report["peers"].PEERS)


@pytest.mark.parametrize(
    ("values", "options", "verdict"),
    [
        ([1.0, 1.02, 1.04], {"aim": 1.05}, "met"),
        ([1.0, 1.06, 1.2], {"aim": 1.05}, "missed"),
        ([12.0], {"aim": 10, "better": "higher"}, "met"),
        ([8.0], {"aim": 10, "better": "higher"}, "missed"),
        ([0.97, 1.0, 1.02], {}, ""),
        ([1.0], {}, ""),
    ],
)
def test_a_verdict_is_what_the_figures_say(report, values, options, verdict):
    shown = report["run"].spread(report["plan"].Figure("x", "a figure", **options), values)
    assert shown.verdict == verdict and shown.low <= shown.median <= shown.high


@pytest.mark.parametrize(
    ("values", "unit", "none_seen"),
    [
        ([0.97, 1.0, 1.02], "x", True),
        ([1.1, 1.2, 1.4], "x", True),
        ([1.1, 1.2, 1.25], "x", False),
        ([1.0], "x", False),
        ([0.97, 1.0, 1.02], "us", False),
    ],
)
def test_a_ratio_whose_spread_is_larger_than_its_difference_says_so(report, values, unit, none_seen):
    shown = report["run"].spread(report["plan"].Figure("x", "a figure", unit), values)
    assert shown.no_difference is none_seen
    assert (report["table"].cells(shown).remark == "no difference seen") is none_seen


def test_a_miss_names_its_cause_or_says_that_none_is_known(report):
    figures = [figure for bench in report["plan"].BENCHES for figure in bench.figures]
    labels = {figure.label for figure in figures if figure.aim is not None}
    assert sorted(set(report["causes"].CAUSES) - labels) == []
    for label, said in (("full tracing / bare graph", "SQLite"), ("another", "no cause is known")):
        shown = report["run"].spread(report["plan"].Figure("x", label, aim=1.0), [1.2, 1.2])
        assert said in report["table"].cells(shown).remark


def test_labels_are_told_apart_within_a_benchmark(report):
    for bench in report["plan"].BENCHES:
        labels = [figure.label for figure in bench.figures]
        assert len(set(labels)) == len(labels), bench.name


def test_a_figure_is_picked_by_its_path_and_what_is_missing_is_told(report):
    pick = report["run"].pick
    assert pick({"a": [{"b": 2}]}, "a > 0 > b") == [2] and pick({"a": [1, 2.5]}, "a") == [1, 2.5]
    assert pick({"a": None}, "a") == [] and pick({}, "a > b") == [] and pick([1], "x") == []


def test_the_page_loads_nothing_and_says_what_was_not_run(report):
    plan, run = report["plan"], report["run"]
    figures = (plan.Figure("a", "ours / <theirs>"), plan.Figure("b", "another"), plan.Figure("c", "missing"))
    good = run.Result(plan.Bench("one", "it helps", figures), missing=["missing"])
    good.shown = [run.spread(f, [1.0, 2.0]) for f in figures[:2]]
    left = run.Result(plan.Bench("two", "it would help"), why="no peer")
    grown = run.Result(plan.Bench("three", "it stays", plot="series"))
    grown.series = {"reads": {"points": [[10, 1.0], [100, 1.1]], "exponent": 0.04}}
    page = report["page"].html([good, left, grown], {"cores": "2"})
    assert page.count("<svg") == 2 and "Not run: no peer." in page and "&lt;theirs&gt;" in page
    assert "<script" not in page and 'src="http' not in page and "@import" not in page
    text = report["table"].markdown([good, left, grown], {"cores": "2"})
    assert "| missing | not run |" in text and "Not run: no peer." in text and "10: 1, 100: 1.1" in text


def test_one_benchmark_can_be_run_alone(tmp_path):
    command = [sys.executable, str(REPORT)]
    out, figures = tmp_path / "report.html", tmp_path / "figures.json"
    wrong = subprocess.run([*command, "--only", "nothing"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 1 and "there are pipeline" in wrong.stderr
    more = ["--only", "gate", "--out", str(out), "--json", str(figures)]
    done = subprocess.run([*command, "--quick", *more], capture_output=True, text=True, check=True, timeout=300)
    assert "words, per token" in done.stdout and out.read_text("utf-8").startswith("<!doctype html>")
    assert json.loads(figures.read_text())["figures"]["gate"]["words that leave at once"] == [1.0, 1.0, 1.0]


def test_what_needs_a_file_that_was_not_given_is_left_out(report, tmp_path):
    filled, args = report["run"]._filled, ("--native={llama-server}", "--rounds", "7", "--data={data}/qa.jsonl")
    assert filled(args, {}, tmp_path, {"data": None, "llama-server": None}) == ["--rounds", "7"]
    (tmp_path / "qa.jsonl").touch()
    assert filled(args, {}, tmp_path, {"data": tmp_path, "llama-server": tmp_path / "none"}) == [
        "--rounds",
        "7",
        f"--data={tmp_path}/qa.jsonl",
    ]
