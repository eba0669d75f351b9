"""The commands about answers by meaning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chainops.cli.cache import app
from chainops.errors import ChainopsError
from chainops.store.semantic import SemanticFile
from chainops.store.semantic.file import ShadowPair


def run(directory: Path, *words: str) -> Any:
    result = CliRunner().invoke(app, [*words, "--dir", str(directory)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result.stdout


def shadow(directory: Path, embedder: Any, count: int, wrong: int) -> None:
    store = SemanticFile(directory)
    for i in range(count):
        store.add_pair(embedder.identity, ShadowPair(2 - i / count, 0.9, i < count - wrong, "q", "other"))
    store.close()


def test_shadow_data_gives_a_threshold_which_stats_shows_with_its_bound(embedder: Any, tmp_path: Path) -> None:
    shadow(tmp_path, embedder, 1500, wrong=200)
    dry = json.loads(run(tmp_path, "calibrate", "--bound", "0.02", "--dry-run", "--json"))
    assert json.loads(run(tmp_path, "stats", "--json"))["semantic"]["calibration"] is None
    assert "at most" in run(tmp_path, "calibrate", "--bound", "0.02")
    kept = json.loads(run(tmp_path, "stats", "--json"))["semantic"]["calibration"]
    assert kept["threshold"] == dry["threshold"] and kept["upper"] <= 0.02
    out = run(tmp_path, "stats")
    assert "wrong hits: at most" in out and "1300 of 1500 answers were the same" in out


def test_labelled_questions_give_one_too(embedder: Any, tmp_path: Path) -> None:
    topics = {"ship": "How do I ship a {}?", "buy": "Where can I buy a {}?", "fix": "Who repairs my {}?"}
    things = [
        "lamp",
        "chair",
        "table",
        "bed",
        "desk",
        "sofa",
        "shelf",
        "mirror",
        "rug",
        "clock",
        "vase",
        "bench",
        "stool",
        "couch",
        "crate",
        "drawer",
    ]
    extra = ["", " please", " today", " in town", " for my aunt"]
    lines = [
        json.dumps({"text": text.format(thing) + more, "label": label})
        for label, text in topics.items()
        for thing in things
        for more in extra
    ]
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join(lines))
    found = json.loads(run(tmp_path, "calibrate", str(file), "--bound", "0.2", "--json"))
    assert found["asked"] == len(lines) and found["source"] == "questions.jsonl" and found["upper"] <= 0.2


def test_too_little_data_is_one_clear_error(embedder: Any, tmp_path: Path) -> None:
    with pytest.raises(ChainopsError, match="no shadow data") as caught:
        run(tmp_path, "calibrate")
    assert caught.value.code == "setup.calibration" and caught.value.hint
    shadow(tmp_path, embedder, 10, wrong=0)
    with pytest.raises(ChainopsError, match="10 possible hits show nothing"):
        run(tmp_path, "calibrate")
    with pytest.raises(ChainopsError, match="cannot be read"):
        run(tmp_path, "calibrate", str(tmp_path / "nothing.jsonl"))


def test_forgetting_reaches_answers_by_meaning(embedder: Any, tmp_path: Path) -> None:
    shadow(tmp_path, embedder, 1, wrong=0)
    assert run(tmp_path, "invalidate", "graph:x") == "0 entries forgotten\n"
    assert run(tmp_path, "clear") == "0 entries forgotten\n"
