"""``chainops cost plan``."""

import json

import pytest
from typer.testing import CliRunner

from chainops.cli.cost import app
from chainops.errors import SetupError
from chainops.store.prices import add_price, entry_of


@pytest.fixture
def run(tmp_path):
    def call(*words, code=0):
        result = CliRunner().invoke(app, ["plan", *map(str, words), "--db", str(tmp_path / "chainops.db")])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return call


def test_without_a_plan_the_examples_are_listed(run):
    assert {"reports", "rag", "finetune", "host"} <= json.loads(run("--json").stdout).keys()
    assert "RAG on the annual reports" in run().stdout


def test_figures_are_texts_to_the_last_digit(run):
    found = json.loads(run("reports", "--json").stdout)
    assert (found["total"], found["lines"][0]["unit"]) == ("14249.90625", "0.115625")
    assert found["lines"][2]["tokens_in"] == "776000000"
    assert len(found["warnings"]) == 2


def test_the_table_shows_tokens_memory_break_even_and_warnings(run):
    shown = run("host").stdout
    assert "93.4 GB = 87.0 GiB fits into 2 GPUs" in shown
    assert "cheaper from 271,229 calls on" in shown
    shown = run("rag").stdout
    assert "873 times as many" in shown
    assert "4,365,000,000" in shown


def test_check_says_no_where_something_is_off(run):
    run("reports", "--check", code=1)
    run("host", "--check")


def test_an_example_is_where_one_begins(run, tmp_path):
    text = run("legal-bot", "--show").stdout
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace("amount = 72", "amount = 80"))
    assert json.loads(run(mine, "--json").stdout)["total"] == "29200"
    assert run(mine, "--show").stdout == mine.read_text()


def test_a_price_may_be_that_of_the_price_books(run, tmp_path):
    add = {"currency": "USD", "source": "s", "author": "a"}
    add_price(tmp_path / "chainops.db", "own", entry_of("m", input="1.5", output="2"), **add)
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'title = "t"\n[prices.p]\nmodel = "m"\n[[lines]]\nname = "l"\nprice = "p"\ninput = 1000\ncalls = 2\n'
    )
    assert json.loads(run(mine, "--json").stdout)["total"] == "0.003"
    mine.write_text(mine.read_text().replace('"m"', '"unheard of"'))
    with pytest.raises(SetupError, match="no price by token for 'unheard of'"):
        run(mine)
