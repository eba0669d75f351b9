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
    names = ("figures", "plan", "run", "table", "page", "machine", "peers")
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
        ([0.97, 1.0, 1.02], {}, "no difference seen"),
        ([1.1, 1.2, 1.3], {}, ""),
        ([1.0], {}, ""),
    ],
)
def test_a_verdict_is_what_the_figures_say(report, values, options, verdict):
    shown = report["run"].spread(report["plan"].Figure("x", "a figure", **options), values)
    assert shown.verdict == verdict and shown.low <= shown.median <= shown.high


def test_a_figure_is_picked_by_its_path_and_what_is_missing_is_told(report):
    pick = report["run"].pick
    assert pick({"a": [{"b": 2}]}, "a > 0 > b") == 2
    assert pick({"a": None}, "a") is None and pick({}, "a > b") is None and pick([1], "x") is None


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


def test_what_needs_a_server_that_was_not_given_is_not_run_and_says_how(report, tmp_path):
    bench = next(b for b in report["plan"].BENCHES if b.name == "engine_servers")
    result = report["run"].run(bench, quick=False, peers={}, folder=tmp_path)
    assert "llama_server.py builds one" in result.why and not result.shown
