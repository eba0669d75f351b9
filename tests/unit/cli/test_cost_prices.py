"""``chainops cost prices``."""

import json

import pytest
from typer.testing import CliRunner

from chainops.cli.cost import app
from chainops.errors import SetupError, StoreError


@pytest.fixture
def run(tmp_path):
    def call(*words, code=0):
        result = CliRunner().invoke(app, ["prices", *words, "--db", str(tmp_path / "chainops.db")])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return call


def test_the_snapshot_is_imported_without_a_network_and_only_once(run, monkeypatch):
    import socket

    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was asked"))
    first = json.loads(run("import", "--json").stdout)
    assert first["book"] == "genai-prices"
    assert first["models"] > 1000
    assert first["new"] is True
    assert json.loads(run("import", "--json").stdout)["new"] is False
    (book,) = json.loads(run("list", "--json").stdout)
    assert book["currency"] == "USD"
    assert book["source"].startswith("genai-prices")
    assert "genai-prices@1" in run("list").stdout


def test_a_price_of_ones_own_is_shown_with_source_and_date(run):
    run("add", "llama", "--hour", "1.79", "--slots", "4", "--source", "rack 7", "--from", "2026-01-01")
    shown = run("show", "llama").stdout
    for part in ("own@1", "since 2026-01-01", "1.79 USD per hour", "shared by 4 calls", "rack 7"):
        assert part in shown, part
    assert json.loads(run("show", "llama", "--json").stdout)["rates"] == {"hour": 1_790_000, "slots": 4}
    run("show", "llama", "--at", "2025-12-31", code=1)


def test_own_prices_count_before_the_snapshot(run):
    run("import")
    assert "genai-prices@1" in run("show", "gpt-4o").stdout
    run("add", "gpt-4o", "--input", "1", "--output", "2", "--source", "contract")
    assert "own@1" in run("show", "gpt-4o").stdout
    rows = json.loads(run("list", "gpt-4o", "--json").stdout)
    assert {"own@1", "genai-prices@1"} <= {row["book"] for row in rows}
    assert "contract" in run("list").stdout
    assert "gpt-4o" in run("list", "GPT-4o*").stdout


def test_a_file_becomes_a_version(run, tmp_path):
    file = tmp_path / "prices.toml"
    file.write_text('currency = "EUR"\nsource = "bill"\n[[models]]\nmodel = "m"\ninput = 1\noutput = 2\n')
    assert run("import", str(file)).stdout == "own@1: 1 models\n"
    assert run("import", str(file)).stdout == "own@1: says nothing new\n"
    assert "1.00 EUR per million tokens read" in run("show", "m").stdout


def test_an_unknown_model_is_a_no(run):
    run("add", "m", "--input", "1", "--source", "s")
    result = run("show", "none", code=1)
    assert result.stdout == ""
    assert "No price book knows 'none'" in result.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--input", "cheap"], "cost.amount"),
        (["--input", "1", "--currency", "euro"], "cost.currency"),
        (["--input", "1", "--from", "soon"], "cost.book"),
        (["--kwh", "0.3"], "cost.book"),
        ([], "cost.book"),
    ],
)
def test_wrong_prices_are_mistakes_of_the_person(run, words, code):
    with pytest.raises(SetupError) as caught:
        run("add", "m", "--source", "s", *words)
    assert caught.value.code == code


def test_without_a_file_there_is_nothing_to_show(run):
    with pytest.raises(StoreError, match="no trace file"):
        run("list")
