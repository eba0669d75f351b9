"""``chainops cost budgets``."""

import json

import pytest
from typer.testing import CliRunner

from chainops.cli.cost import app
from chainops.errors import StoreError
from chainops.store.budgets import BudgetFile, Claim


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHAINOPS_BUDGETS__PATH", raising=False)

    def call(*words):
        result = CliRunner().invoke(app, ["budgets", *words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def spent(tmp_path):
    file = BudgetFile(tmp_path / "chainops-budgets.db")
    here = ("user/year", '["ann"]', "2999", "USD")
    old = ("user/year", '["ann"]', "1999", "USD")
    file.reserve("1", 5_000, [Claim(here, None, None)]).result()
    file.settle("1", 1_500_000, [here])
    file.settle("2", 700_000, [old], guess=True)
    file.reserve("3", 250_000, [Claim(here, None, 0)]).result()
    file.close()
    (tmp_path / "chainops.toml").write_text('[[budgets.rules]]\nper = ["user"]\nperiod = "year"\nhard = "2"\n')


def test_what_was_spent_and_what_is_left(run, spent):
    (row,) = json.loads(run("--json").stdout)
    assert (row["key"], row["span"], row["spent"], row["reserved"]) == (["ann"], "2999", 1_500_000, 250_000)
    assert (row["hard"], row["left"], row["calls"], row["degraded"]) == (2_000_000, 250_000, 1, 1)
    shown = run().stdout
    assert "user/year" in shown
    assert "1.50 USD" in shown


def test_past_years_are_shown_when_asked_for(run, spent):
    rows = json.loads(run("--all", "--json").stdout)
    assert [(row["span"], row["guessed"]) for row in rows] == [("2999", 0), ("1999", 1)]


def test_without_accounts_there_is_a_clear_error(run):
    with pytest.raises(StoreError, match="no budgets in"):
        run()
