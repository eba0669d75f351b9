"""``chainops compress``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chainops.cli import app, main

TEXT = (
    "The company was founded in 1998 by Ada Berg. It has two shops & one <stand>. The weather was dry all summer long. "
    "Nobody expected the rain in the autumn. The first shop is in Oslo. A second one opened in Bergen.\n"
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["compress", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_the_text_that_answers_is_printed_and_the_talk_goes_to_stderr(file: Path) -> None:
    code, out, err = run(str(file), "--budget", "16", "--query", "Who founded the company?")
    assert code == 0 and "Ada Berg" in out and "weather" not in out
    assert "tokens (" in err and "extract" in err


def test_explain_shows_every_sentence_with_why(file: Path) -> None:
    code, out, _ = run(str(file), "--budget", "16", "--query", "Who founded the company?", "--explain", "--json")
    found = json.loads(out)
    assert code == 0 and found["tokens_after"] <= 16 < found["tokens_before"]
    assert "".join(piece["text"] for piece in found["pieces"]) == TEXT.rstrip("\n") + "\n"
    assert {piece["why"] for piece in found["pieces"]} >= {"answers", "not asked for"}
    code, out, _ = run(str(file), "--budget", "16", "--explain")
    assert code == 0 and "not asked for" in " ".join(out.split())


def test_the_page_shows_the_same_and_nothing_in_it_is_run(file: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    assert run(str(file), "--budget", "30%", "--query", "<script>", "--html", str(page))[0] == 0
    text = page.read_text(encoding="utf-8")
    assert "&lt;script&gt;" in text and "<script" not in text and "&lt;stand&gt;" in text
    assert 'class="kept"' in text and 'class="dropped"' in text


def test_lossless_leaves_nothing_out_and_says_that_it_is_too_long(file: Path) -> None:
    code, out, err = run(str(file), "--budget", "10", "--strategy", "lossless")
    assert code == 0 and out.strip() == TEXT.strip() and "more than the 10 allowed" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.txt"], "Cannot read none.txt"),
        (["{file}", "--budget", "many"], "--budget many"),
        (["{file}", "--budget", "0"], "--budget 0"),
        (["{file}", "--strategy", "best"], "no strategy 'best'"),
        (["bench", "--data", "none.jsonl"], "Cannot read none.jsonl"),
    ],
)
def test_a_mistake_is_one_line_with_a_hint(
    file: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    with pytest.raises(SystemExit) as stopped:
        main(["compress", *(argument.format(file=file) for argument in arguments)])
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert message in err and "hint:" in err


def test_the_benchmark_prints_our_methods_beside_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("bench", "--limit", "5", "--json")
    rows = json.loads(out)
    assert code == 0
    assert {row["method"] for row in rows} == {"head", "tail", "trim_messages", "TextRank", "BM25", "ours"}
    assert run("bench", "--limit", "3")[1].count("TextRank") == 4


@pytest.mark.llama
def test_a_model_file_counts_with_its_own_vocabulary(file: Path) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python (the [llama] extra) is not installed")
    tiny = Path(__file__).parents[3] / "recipes" / "tiny_model" / "support-desk-tiny.gguf"
    if not tiny.exists():
        pytest.skip("recipes/tiny_model/support-desk-tiny.gguf is not there")
    code, out, _ = run(str(file), "--model", str(tiny), "--json", "--budget", "99%")
    from chainops.engines.llama import ChatLlama

    model = ChatLlama(model_path=tiny, probe=False, n_ctx=64)
    try:
        assert code == 0 and json.loads(out)["tokens_before"] == model.count_tokens(TEXT)
    finally:
        model.close()
