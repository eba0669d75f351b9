from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from chainops.cli.pii import app
from chainops.errors import SetupError, StoreError
from chainops.store.vault import Keys, Vault

KEY = "ab" * 32
LOG = "User: John Doe, email john@example.com"


@pytest.fixture
def cli(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHAINOPS_PII__KEY", KEY)

    def run(*args, input=None):
        result = CliRunner().invoke(app, list(args), input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def vault(tmp_path):
    made = Vault(tmp_path / "chainops-vault.db", Keys(KEY))
    made.add("t1", "u1", "EMAIL", "a@b.io")
    made.add("t2", "u1", "PHONE", "901820")
    yield made
    made.close()


def test_scan_says_what_stands_where(cli):
    rows = json.loads(cli("scan", LOG, "--json").stdout)
    assert rows[1] == {"start": 22, "end": 38, "kind": "EMAIL", "score": 1.0, "value": "john@example.com"}
    assert [line.split()[1] for line in cli("scan", LOG).stdout.splitlines()] == ["PERSON", "EMAIL"]


def test_scan_reads_standard_input_and_prints_it_without_values(cli):
    assert cli("scan", "-", "--redact", input=f"{LOG}\n").stdout == "User: <PERSON>, email <EMAIL>\n"
    assert json.loads(cli("scan", LOG, "--redact", "--json").stdout)["found"] == 2


def test_scan_is_a_gate(cli):
    assert cli("scan", LOG, "--check").exit_code == 1
    assert cli("scan", "nothing here", "--check").exit_code == 0


def test_scan_looks_for_the_kinds_that_are_named(cli):
    assert [row["kind"] for row in json.loads(cli("scan", LOG, "--kind", "EMAIL", "--json").stdout)] == ["EMAIL"]
    with pytest.raises(SetupError, match="EMIAL"):
        cli("scan", LOG, "--kind", "EMIAL")


def test_test_measures_and_is_a_gate(cli, tmp_path):
    file = tmp_path / "labelled.jsonl"
    rows = [
        {"text": "Mail a@b.io", "spans": [{"start": 5, "end": 11, "kind": "EMAIL"}]},
        {"text": "Mail to ann", "spans": [{"start": 8, "end": 11, "kind": "EMAIL"}]},
        {"text": "Mail c@d.io", "spans": []},
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    found = json.loads(cli("test", str(file), "--misses", "--json").stdout)
    total = found["kinds"][-1]
    assert (total["kind"], total["there"], total["found"], total["wrong"]) == ("all", 2, 1, 1)
    assert (total["recall"], total["precision"]) == (0.5, 0.5)
    assert [(m["what"], m["value"]) for m in found["mistakes"]] == [("missed", "ann"), ("wrong", "c@d.io")]
    assert cli("test", str(file), "--check", "0.97").exit_code == 1
    assert cli("test", str(file), "--check", "0.5").exit_code == 0
    assert "0.500" in cli("test", str(file)).stdout


def test_erase_forgets_one_subject(cli, vault):
    assert json.loads(cli("erase", "--subject", "u1", "--json").stdout) == {"erased": 2}
    assert vault.load("t1") == []
    assert "0 values" in cli("erase", "--subject", "u1").stdout
    assert "0 values" in cli("erase", "--subject", "u1", "--tenant", "one").stdout


def test_purge_removes_what_has_expired(cli, vault):
    assert json.loads(cli("purge", "--json").stdout) == {"purged": 0}


def test_a_vault_that_is_not_there_or_has_no_key_is_a_clear_error(cli, vault, tmp_path, monkeypatch):
    with pytest.raises(StoreError) as error:
        cli("erase", "--subject", "u1", "--vault", str(tmp_path / "other.db"))
    assert error.value.code == "store.no_vault"
    monkeypatch.delenv("CHAINOPS_PII__KEY")
    with pytest.raises(SetupError) as missing:
        cli("erase", "--subject", "u1")
    assert missing.value.code == "setup.pii_key"


def test_key_makes_another_key_each_time(cli):
    one, two = (cli("key").stdout.strip() for _ in range(2))
    assert one != two
    Keys(one)
