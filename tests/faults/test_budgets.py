"""Budgets that processes share: exact, and not poisoned by one that dies."""

import subprocess
import sys
from pathlib import Path

import pytest

from chainops.middleware.budgets import Budgets
from chainops.store.prices import add_price, entry_of

WORKER = Path(__file__).with_name("budget_worker.py")


@pytest.fixture
def folder(tmp_path):
    price = entry_of("scripted", input="1", output="2")
    add_price(tmp_path / "chainops.db", "own", price, currency="USD", source="s", author="a")
    return tmp_path


def start(folder, *words):
    return subprocess.Popen(
        [sys.executable, str(WORKER), str(folder), *map(str, words)], stdout=subprocess.PIPE, text=True
    )


def accounts(folder):
    file = Budgets([], folder / "budgets.db", prices=None)
    try:
        return {(a.scope, a.key): a for a in file.file.accounts()}
    finally:
        file.close()


@pytest.mark.slow
def test_four_processes_spend_exactly_their_sum_and_no_budget_more_than_it_has(folder):
    workers = [start(folder, seed, 1000) for seed in range(4)]
    told = [tuple(map(int, worker.communicate(timeout=300)[0].split())) for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 4
    spent, refused = sum(total for total, _, _ in told), sum(no for _, no, _ in told)
    found = accounts(folder)
    assert found["all/year", ""].spent == spent > 0
    assert sum(a.spent for (scope, _), a in found.items() if scope == "user/year") == spent
    assert sum(a.spent for (scope, _), a in found.items() if scope == "tenant/year") == spent
    assert all(a.reserved == 0 for a in found.values())
    tenants = [a for (scope, _), a in found.items() if scope == "tenant/year"]
    assert sum(a.refused for a in tenants) == refused > 100
    dearest = max(estimate for _, _, estimate in told)
    assert all(600_000 - 2 * dearest <= a.spent <= 600_000 for a in tenants)


def test_what_a_killed_process_had_reserved_is_given_back_when_somebody_needs_it(folder):
    worker = start(folder, 0, 0, "hold")
    assert worker.stdout.readline() == "reserved\n"
    assert accounts(folder)["tenant/year", '["a"]'].reserved > 500_000
    worker.kill()
    worker.wait(30)
    worker.stdout.close()
    told = start(folder, 1, 700).communicate(timeout=120)[0].split()
    assert int(told[0]) > 0
    assert all(account.reserved == 0 for account in accounts(folder).values())
